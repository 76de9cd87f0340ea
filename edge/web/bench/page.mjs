/**
 * Separates a song on the page, in a fresh Chromium, and prints one line of JSON.
 *
 *     node bench/page.mjs URL SONG MODEL
 *
 * `seconds` is what the page's worker took, from the first sample to the last stem; `peak_mb` the most
 * memory that the page's process had in RAM, `idle_mb` the most before the song; both Linux only.
 */
import { readFileSync, readdirSync } from "node:fs";
import { chromium } from "playwright-core";

const [url, song, model] = process.argv.slice(2);
const PATIENCE_MS = 3_600_000;

/** The peak of the largest renderer process below this one, in MB. */
function peak() {
  const parents = new Map();
  const peaks = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      parents.set(pid, /PPid:\s+(\d+)/.exec(status)[1]);
      const isRenderer = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer");
      if (isRenderer) peaks.set(pid, Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1000);
    } catch {
      continue; // it has ended meanwhile
    }
  }
  const isOurs = (pid) => pid === String(process.pid) || (parents.has(pid) && isOurs(parents.get(pid)));
  return Math.round(Math.max(...[...peaks].filter(([pid]) => isOurs(pid)).map(([, value]) => value)));
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
  if ((await page.inputValue("#model")) !== model) {
    await page.selectOption("#model", model);
    await ready();
  }
  const backend = (await page.textContent("#engine")).split(" · ")[0];
  const idle = peak();
  await page.setInputFiles("#file", song);
  await page.waitForFunction(() => document.body.dataset.state === "ready" || !document.getElementById("error").hidden);
  const summary = await page.textContent("#summary");
  const seconds = Number(/in ([\d.]+) s/.exec(summary)?.[1]);
  if (!seconds) throw new Error((await page.textContent("#error")) ?? summary);
  console.log(JSON.stringify({ backend, seconds, idle_mb: idle, peak_mb: peak() }));
} finally {
  await browser.close();
}
