/** The page's other ways: keyboard, offline, cancel, errors, microphone, old browsers, screen readers. */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import * as use from "./harness";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");
// A model of 4 kB with windows of a fifth of a second: what the page does, without the waiting.
const SMALL_MODEL = fileURLToPath(new URL("../../../docs/how-to/apps/model.tflite", import.meta.url));
// Of the runner's test models one that LiteRT.js runs on WebGPU as a whole.
const GPU_MODEL = fileURLToPath(new URL("../../../tests/edge/data/magnitudes.tflite", import.meta.url));

let browser: Browser;
let served: use.Served;
let song: string;

beforeAll(async () => {
  const flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"];
  [served, browser] = await Promise.all([use.serve(), use.launch(...flags)]);
  song = use.wavFile("short.wav", 3, 2);
});

afterAll(async () => {
  await browser.close();
  await served.stop();
});

const small = (page: Page) => use.openModel(page, SMALL_MODEL);

/** Writes a WAV file of low rate that lasts for hours. */
function hours(count: number): string {
  const path = use.wavFile("hours.wav", 0, 1, 3000);
  const bytes = count * 3600 * 3000 * 2;
  const header = readFileSync(path).subarray(0, 44);
  header.writeUInt32LE(36 + bytes, 4);
  header.writeUInt32LE(bytes, 40);
  writeFileSync(path, header);
  truncateSync(path, 44 + bytes);
  return path;
}

const alert = (page: Page) => page.waitForSelector("#error:not([hidden])").then(() => page.textContent("#error"));

test("everything works from the keyboard", async () => {
  const { page, context } = await use.visit(browser, served.url);
  await small(page);
  await page.keyboard.press("Tab");
  const reached: (string | null)[] = [];
  for (let stop = 0; stop < 6; stop++) {
    reached.push(await page.evaluate(() => document.activeElement!.getAttribute("aria-label") ?? document.activeElement!.id));
    await page.keyboard.press("Tab");
  }
  expect(reached).toEqual(["mmdense, start page", "Choose a song", "record", "microphone", "tab", "model"]);

  const chooser = page.waitForEvent("filechooser");
  await page.focus("#file");
  await page.keyboard.press("Enter");
  await (await chooser).setFiles(song);
  await use.separated(page);
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());

  await page.keyboard.press("Space");
  await page.waitForFunction(() => Number(document.querySelector<HTMLInputElement>("#seek")!.value) > 0.2);
  expect(await page.getAttribute("#play", "aria-label")).toBe("Pause");
  await page.keyboard.press("Space");
  expect(await page.getAttribute("#play", "aria-label")).toBe("Play");
  const before = Number(await page.inputValue("#seek"));
  await page.keyboard.press("ArrowLeft");
  expect(Number(await page.inputValue("#seek"))).toBeLessThan(before);
  expect(await page.getAttribute("#seek", "aria-valuetext")).toMatch(/^0 seconds of 3 seconds$/);

  const pressed = (name: string) => page.getByLabel(name, { exact: true }).getAttribute("aria-pressed");
  await page.keyboard.press("Digit1");
  await page.keyboard.press("Shift+Digit2");
  expect([await pressed("Solo vocals"), await pressed("Mute accompaniment")]).toEqual(["true", "true"]);
  await page.focus('[aria-label="Volume of vocals"]');
  await page.keyboard.press("Home");
  expect(await page.getAttribute('[aria-label="Volume of vocals"]', "aria-valuetext")).toBe("0%");

  const silent = await use.download(page, () => page.press("#save-mix", "Enter"));
  expect(silent.name).toBe("short - mix.wav");
  const mix = use.samples(silent.data);
  expect([mix.length, use.power(mix)]).toEqual([2 * 3 * 44100, 0]);
  await context.close();
});

test("offline after the first visit: loads and separates without the server", async () => {
  const own = await use.serve();
  const { page, context } = await use.visit(browser, own.url);
  await page.waitForFunction(() => document.getElementById("engine")!.textContent!.endsWith("works offline"));
  await own.stop();
  expect(await use.again(page, song)).toMatch(/^WebAssembly, \d+ threads.* 0:03 separated/);
  await context.close();
});

test("the page can be installed: a manifest with icons, a service worker in charge", async () => {
  const { page, context } = await use.visit(browser, served.url);
  const client = await context.newCDPSession(page);
  const { errors } = await client.send("Page.getAppManifest");
  expect(errors).toEqual([]);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  const { installabilityErrors } = await client.send("Page.getInstallabilityErrors");
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito")).toEqual([]);
  await context.close();
});

test("cancel ends the work, leaves nothing behind, and the next song works", async () => {
  const { page, context } = await use.visit(browser, served.url);
  await use.started(page);
  await use.choose(page, use.wavFile("long.wav", 60, 2));
  await page.waitForFunction(() => Number(document.getElementById("bar")!.getAttribute("aria-valuenow")) > 0);
  expect(await page.textContent("#work-text")).toMatch(/^\d+% · about \d+ (s|min) left$/);
  expect(await page.isVisible("#mixer")).toBe(true);
  await page.click("#cancel");
  await page.waitForFunction(() => document.body.dataset["state"] === "idle");
  expect([await page.isVisible("#error"), await page.isVisible("#mixer"), await page.isVisible("#work")]).toEqual([false, false, false]);
  expect(await page.textContent("#status")).toBe("Cancelled");
  await use.choose(page, song);
  await use.separated(page);
  const kept = await page.evaluate(async () => {
    const names: string[] = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
    return names.length;
  });
  expect(kept).toBe(1);
  await context.close();
});

test("cancel ends a song that is still read, while the engine starts", async () => {
  const { page, context } = await use.visit(browser, served.url);
  await use.choose(page, use.wavFile("long.wav", 60, 2));
  await page.click("#cancel");
  await page.waitForFunction(() => document.body.dataset["state"] === "idle");
  expect(await page.textContent("#status")).toBe("Cancelled");
  await use.choose(page, song);
  await use.separated(page);
  await context.close();
});

test("another model while a second song waits for the first: both give way", async () => {
  const { page, context } = await use.visit(browser, served.url);
  await use.started(page);
  await use.choose(page, use.wavFile("long.wav", 60, 2));
  await page.waitForFunction(() => Number(document.getElementById("bar")!.getAttribute("aria-valuenow")) > 0);
  await use.choose(page, song);
  await page.selectOption("#model", { index: 0 });
  await use.started(page);
  await use.choose(page, song);
  await use.separated(page);
  await context.close();
});

test("a model file that is opened while the page starts comes after the first model, and can be chosen again", async () => {
  const { page, context } = await use.visit(browser, served.url);
  const chosen = () => page.evaluate(() => document.querySelector<HTMLSelectElement>("#model")!.selectedOptions[0]!.text);
  await page.waitForFunction(() => document.querySelector<HTMLSelectElement>("#model")!.options.length > 0);
  await use.choose(page, GPU_MODEL);
  await page.waitForFunction(() => document.querySelector<HTMLSelectElement>("#model")!.selectedOptions[0]!.text.includes("from your file"));
  const [first, file] = await page.evaluate(() => {
    const { options } = document.querySelector<HTMLSelectElement>("#model")!;
    return [options[0]!.value, options[options.length - 1]!.value];
  });
  for (const value of [first!, file!]) {
    await page.selectOption("#model", value);
    await use.started(page);
    await use.choose(page, song);
    await use.separated(page);
    expect((await chosen()).includes("from your file")).toBe(value === file);
  }
  await context.close();
});

test("what cannot be separated is refused in plain words, and the page goes on", async () => {
  const { page, context } = await use.visit(browser, served.url);
  const file = (name: string, data: Buffer | string) => {
    const path = join(use.FOLDER, name);
    writeFileSync(path, data);
    return path;
  };
  await small(page);
  await use.choose(page, file("letter.txt", "no music"));
  expect(await alert(page)).toMatch(/^This browser cannot read the file as audio/);
  expect(await use.state(page)).toBe("idle");
  await use.choose(page, file("empty.wav", ""));
  await page.waitForFunction(() => document.getElementById("error")!.textContent!.startsWith("The file is empty"));
  await use.choose(page, hours(2));
  await page.waitForFunction(() => /^This is 2:00:00 long; the memory of this device is enough for \d+:\d+/.test(document.getElementById("error")!.textContent!));
  await use.choose(page, file("broken.tflite", readFileSync(SMALL_MODEL).subarray(0, 3000)));
  await page.waitForFunction(() => /carries no contract/.test(document.getElementById("error")!.textContent!));
  await use.started(page);
  await use.choose(page, song);
  await use.separated(page);
  expect(await page.isVisible("#error")).toBe(false);
  await context.close();
});

test.each([
  ["mono, 48 kHz", 1, 48000, 3],
  ["six channels", 6, 44100, 2],
  ["shorter than a frame", 2, 44100, 0.01],
])("%s comes back with its channels and its length at the model's rate", async (_, channels, rate, seconds) => {
  const { page, context } = await use.visit(browser, served.url);
  await small(page);
  await use.choose(page, use.wavFile("odd.wav", seconds, channels, rate));
  await use.separated(page);
  const { data } = await use.download(page, () => page.getByLabel("Save vocals as WAV").click());
  expect([data.readUInt16LE(22), data.readUInt32LE(24)]).toEqual([channels, 44100]);
  expect(use.samples(data).length).toBe(Math.round(seconds * 44100) * channels);
  await context.close();
});

test("the microphone: recorded, then separated", async () => {
  const { page, context } = await use.visit(browser, served.url, { permissions: ["microphone"] });
  await small(page);
  await page.click("#record");
  await page.waitForFunction(() => document.getElementById("record")!.textContent === "Stop, 0:01");
  await page.click("#record");
  await use.separated(page);
  expect(await page.textContent("#song")).toBe("recording");
  const { data } = await use.download(page, () => page.getByLabel("Save vocals as WAV").click());
  expect(use.samples(data).length).toBeGreaterThan(44100 * 0.8);
  await context.close();
});

test("over plain http from another name: one thread, no microphone, and the page says why", async () => {
  const { page, context, requests } = await use.visit(browser, served.url.replace("127.0.0.1", use.INSECURE_HOST));
  expect(await page.textContent("#note")).toMatch(/plain http/);
  expect(await use.started(page)).toBe("WebAssembly, 1 thread");
  expect(requests.some((url) => url.includes("litert_wasm_internal.wasm"))).toBe(true);
  await page.click("#record");
  expect(await alert(page)).toMatch(/over https only/);
  await use.choose(page, song);
  await use.separated(page);
  const { data } = await use.download(page, () => page.getByLabel("Save vocals as WAV").click());
  expect(use.samples(data).length).toBe(2 * 3 * 44100);
  await context.close();
});

/** Loads the page with code before that of its worker, as an older browser would run it. */
async function older(code: string): Promise<use.Visit> {
  const context = await browser.newContext({ serviceWorkers: "block", acceptDownloads: true });
  context.setDefaultTimeout(use.PATIENCE_MS);
  await context.route("**/worker-*.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: code + (await response.text()) });
  });
  const page = await context.newPage();
  const requests: string[] = [];
  context.on("request", (request) => requests.push(request.url()));
  await page.goto(served.url);
  return { context, page, requests, problems: [] };
}

test("without WebAssembly SIMD the page says what to do", async () => {
  const { page, context } = await older("WebAssembly.validate = () => false;");
  expect(await alert(page)).toMatch(/too old: it lacks WebAssembly SIMD/);
  await context.close();
});

test("without relaxed SIMD it takes the build for that", async () => {
  const code = "{ const make = WebAssembly.instantiate; WebAssembly.instantiate = (source, ...rest) => source.length === 36 ? Promise.reject(new Error('no relaxed SIMD')) : make(source, ...rest); }";
  const { page, context, requests } = await older(code);
  expect(await use.started(page)).toBe("WebAssembly, 1 thread");
  expect(requests.some((url) => url.includes("litert_wasm_compat_internal.wasm"))).toBe(true);
  await use.choose(page, song);
  await use.separated(page);
  await context.close();
});

test("WebGPU is tried with a float model, answers alike, and the faster of the two is taken", async () => {
  // A GPU in software: that it is right can be seen, not how fast a real one is.
  const gpu = await use.launch("--disable-gpu-watchdog", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader", "--enable-features=Vulkan");
  const context = await gpu.newContext();
  context.setDefaultTimeout(use.PATIENCE_MS);
  const page = await context.newPage();
  await page.goto(served.url);
  await use.started(page);
  const measured = page.waitForEvent("console", (message) => message.text().startsWith("a window takes"));
  await use.choose(page, GPU_MODEL);
  const [, wasm, webgpu, apart] = /takes (\d+) ms on WebAssembly, (\d+) ms on WebGPU; the answers are (\S+) apart/.exec((await measured).text())!;
  expect(Number(apart)).toBeLessThan(1e-4);
  await page.waitForFunction(() => document.querySelector<HTMLSelectElement>("#model")!.selectedOptions[0]!.text.includes("from your file"));
  if (wasm !== webgpu) expect(await use.started(page)).toMatch(Number(webgpu) < Number(wasm) ? /^WebGPU/ : /^WebAssembly/);
  await use.choose(page, song);
  await use.separated(page);
  await gpu.close();
});

test.each(["dark", "light"] as const)("axe finds nothing against it, %s, and nothing is wider than a phone", async (colorScheme) => {
  const { page, context } = await use.visit(browser, served.url, { viewport: use.PHONE, colorScheme, isMobile: true, hasTouch: true, permissions: ["microphone"] });
  await small(page);
  const check = async () => {
    const found = (await page.evaluate(`${AXE}; axe.run()`)) as { violations: { id: string; nodes: { html: string }[] }[] };
    expect(found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(use.PHONE.width);
  };
  await check();
  await use.choose(page, song);
  await use.separated(page);
  await page.click("summary");
  await check();
  await page.click("#microphone");
  await page.waitForFunction(() => document.body.dataset["state"] === "live");
  await check();
  await page.screenshot({ path: join(use.WEB, "screenshots", `live-360x780-${colorScheme}.png`) });
  await context.close();
});
