/**
 * Separates a song on the page, in a fresh Chromium, and prints one line of JSON.
 *
 *     node bench/page.mjs URL SONG MODEL
 *
 * MODEL is a name of the page's list or a file.
 * `seconds` is the time from the song's choice to the last stem, `cpu_seconds` the CPU time of the
 * page's process meanwhile; `peak_mb` is the most memory that it had in RAM, `idle_mb` the most
 * before the song. Linux only.
 */
import { readFileSync, readdirSync } from "node:fs";
import { chromium } from "playwright-core";

const [url, song, model] = process.argv.slice(2);
const PATIENCE_MS = 3_600_000;

// Of /proc/PID/stat, where the kernel counts in hundredths of a second.
const TICK_SECONDS = 0.01;

/** Peak memory in MB and CPU seconds of the largest renderer process below this one. */
function usage() {
  const parents = new Map();
  const renderers = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const times = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
      parents.set(pid, /PPid:\s+(\d+)/.exec(status)[1]);
      const peak = Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1000);
      const cpu = (Number(times[11]) + Number(times[12])) * TICK_SECONDS;
      const isRenderer = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer");
      if (isRenderer) renderers.set(pid, { peak, cpu });
    } catch {
      continue; // it has ended meanwhile
    }
  }
  const isOurs = (pid) => pid === String(process.pid) || (parents.has(pid) && isOurs(parents.get(pid)));
  const ours = [...renderers].filter(([pid]) => isOurs(pid)).map(([, value]) => value);
  return ours.reduce((most, one) => (one.peak > most.peak ? one : most));
}

const rules = "MAP page.test 127.0.0.1 , MAP * ~NOTFOUND , EXCLUDE 127.0.0.1";
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", `--host-resolver-rules=${rules}`],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(url);
  const ready = () => page.waitForFunction(() => /^(WebAssembly|WebGPU|No engine)/.test(document.getElementById("engine").textContent));
  await ready();
  if (model.endsWith(".tflite")) {
    await page.setInputFiles("#file", model);
    await page.waitForFunction(() => document.querySelector("#model").selectedOptions[0].text.includes("from your file"));
    await ready();
  } else if ((await page.inputValue("#model")) !== model) {
    await page.selectOption("#model", model);
    await ready();
  }
  const backend = (await page.textContent("#engine")).split(" · ")[0];
  const idle = usage();
  const start = performance.now();
  await page.setInputFiles("#file", song);
  await page.waitForFunction(() => document.body.dataset.state === "ready" || !document.getElementById("error").hidden, null, { polling: 50 });
  const seconds = (performance.now() - start) / 1000;
  const done = usage();
  if (await page.isVisible("#error")) throw new Error(await page.textContent("#error"));
  console.log(JSON.stringify({ backend, seconds, cpu_seconds: done.cpu - idle.cpu, idle_mb: idle.peak, peak_mb: done.peak }));
} finally {
  await browser.close();
}
