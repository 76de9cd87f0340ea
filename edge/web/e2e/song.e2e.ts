/** A real song through the real page: stems beside the runner's, requests, sizes, pictures. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, CDPSession, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ModelEntry } from "../src/page/models";
import * as use from "./harness";

const MAX_DOWNLOAD_BYTES = 12e6;
// What the page decodes, 16-bit FLAC at the model's rate, is exact: only the stems' rounding and the
// order of sums differ.
const FLOAT_SNR_DB = 60;

let browser: Browser;
let served: use.Served;
let models: ModelEntry[];

beforeAll(async () => {
  [served, browser] = await Promise.all([use.serve(), use.launch()]);
  models = (await (await fetch(`${served.url}models.json`)).json()) as ModelEntry[];
});

afterAll(async () => {
  await browser.close();
  await served.stop();
});

const shot = (page: Page, name: string) => page.screenshot({ path: join(use.WEB, "screenshots", name) });

async function checkStems(page: Page, reference: use.Reference, leastDb: (reference: use.Reference) => number) {
  const snrs: Record<string, number> = {};
  for (const source of reference.sources) {
    const { name, data } = await use.download(page, () => page.getByLabel(`Save ${source} as WAV`).click());
    expect(name).toBe(`mixture - ${source}.wav`);
    const [expected, found] = [reference.stem(source), use.samples(data)];
    expect(found.length).toBe(expected.length);
    expect(use.power(found) / use.power(expected)).toBeCloseTo(1, 1);
    snrs[source] = use.snr(expected, found);
  }
  console.log("SNR to the runner's stems, dB:", JSON.stringify(snrs, (_, value) => (typeof value === "number" ? Number(value.toFixed(1)) : value)));
  expect(Math.min(...Object.values(snrs))).toBeGreaterThan(leastDb(reference));
}

test("the default model at 1280x800: dropped, separated, saved, nothing asked of other hosts", async () => {
  const { page, context, requests, problems } = await use.visit(browser, served.url);
  expect(await use.started(page)).toMatch(/^WebAssembly, \d+ threads/);
  await shot(page, "start-1280x800.png");
  await use.drop(page, use.SONG, "mixture.flac");
  await use.separated(page);
  const entry = models.find(({ isDefault }) => isDefault)!;
  const isFloat = entry.precision === "float32";
  await checkStems(page, use.reference(entry.name, use.SONG), ({ parity }) => (isFloat ? FLOAT_SNR_DB : parity));

  const zip = await use.download(page, () => page.getByText("Save all (ZIP)").click());
  expect(zip.name).toBe("mixture.zip");
  writeFileSync(join(use.FOLDER, "stems.zip"), zip.data);
  const listing = execFileSync(use.PYTHON, ["-m", "zipfile", "-t", join(use.FOLDER, "stems.zip")], { encoding: "utf8" });
  expect(listing).toMatch(/Done testing/);

  await page.locator("canvas").first().click({ position: { x: 150, y: 20 } });
  await shot(page, "mixer-1280x800.png");
  const elsewhere = requests.filter((url) => !url.startsWith(served.url) && !url.startsWith(`blob:${served.url}`));
  console.log(`${requests.length} requests:\n${requests.map((url) => url.replace(served.url, "/")).join("\n")}`);
  expect(requests.length).toBeGreaterThan(5);
  expect(elsewhere).toEqual([]);
  expect(problems).toEqual([]);
  await context.close();
});

test("the float32 model at 360x780, light: stems within 60 dB of the runner's", async () => {
  const entry = models.find(({ precision }) => precision === "float32")!;
  const { page, context } = await use.visit(browser, served.url, { viewport: use.PHONE, colorScheme: "light", hasTouch: true, isMobile: true });
  await use.started(page);
  await shot(page, "start-360x780.png");
  await page.selectOption("#model", entry.name);
  await use.started(page);
  await use.choose(page, use.SONG);
  await use.separated(page);
  await checkStems(page, use.reference(entry.name, use.SONG), () => FLOAT_SNR_DB);
  await page.evaluate(() => scrollTo(0, document.getElementById("song")!.offsetTop - 12));
  await page.locator("canvas").first().click({ position: { x: 120, y: 20 } });
  await shot(page, "mixer-360x780.png");
  await context.close();
});

test("a causal model, frame by frame: stems within 60 dB of the runner's", async () => {
  const { page, context } = await use.visit(browser, served.url);
  await use.openModel(page, use.CAUSAL_MODEL);
  await use.choose(page, use.SONG);
  await use.separated(page);
  await checkStems(page, use.reference(use.CAUSAL_MODEL, use.SONG), () => FLOAT_SNR_DB);
  await context.close();
});

/** Sums what comes over the wire, of the page and of its workers. */
async function weigh(client: CDPSession): Promise<() => number> {
  let bytes = 0;
  client.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
  await client.send("Network.enable");
  return () => bytes;
}

test("what a phone downloads stays below 12 MB, with every model", async () => {
  const context = await browser.newContext({ serviceWorkers: "block" });
  context.setDefaultTimeout(use.PATIENCE_MS);
  const page = await context.newPage();
  const sizes = new Map<string, number>();
  const weight = await weigh(await context.newCDPSession(page));
  context.on("response", async (response) => {
    sizes.set(response.url(), Number(response.headers()["content-length"]));
  });
  await page.goto(served.url);
  await use.started(page);
  const first = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  for (const { name } of models.filter(({ isDefault }) => !isDefault)) {
    await page.selectOption("#model", name);
    await use.started(page);
  }
  const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  console.log(`downloaded to start: ${(first / 1e6).toFixed(2)} MB; with every model: ${(all / 1e6).toFixed(2)} MB`);
  expect(weight()).toBeGreaterThan(0);
  expect([...sizes.keys()].some((url) => url.endsWith(".wasm"))).toBe(true);
  expect(all).toBeLessThan(MAX_DOWNLOAD_BYTES);
  expect(first).toBeLessThan(all);
  await context.close();
});
