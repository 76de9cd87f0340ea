/** The page as `mmdense serve` sends it, in Debian's Chromium, and the runner's stems to compare with. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, type BrowserContextOptions, type Page, chromium } from "playwright-core";

export const WEB = fileURLToPath(new URL("..", import.meta.url));
export const SONG = fileURLToPath(new URL("../../example/mixture.flac", import.meta.url));
/** A model of 4 kB that takes one frame at a time and whose stems add up to the mixture. */
export const CAUSAL_MODEL = fileURLToPath(new URL("../../../tests/edge/data/causal.tflite", import.meta.url));
export const FOLDER = mkdtempSync(join(tmpdir(), "mmdense-web-"));
export const PYTHON = process.env["MMDENSE_PYTHON"] ?? "python3";
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** How long to wait for the page: long enough for a machine that is busy with other things. */
export const PATIENCE_MS = 150_000;
export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 360, height: 780 };
/** A name for this machine that browsers do not take for a secure context. */
export const INSECURE_HOST = "page.test";

export interface Served {
  url: string;
  stop(): Promise<void>;
}

/** Starts `mmdense serve` on a free port. */
export function serve(): Promise<Served> {
  return start("mmdense_edge", "serve", "--port", "0");
}

/** Starts a plain web server on a free port: no headers, no compression. */
export function host(folder: string): Promise<Served> {
  return start("http.server", "0", "--bind", "127.0.0.1", "--directory", folder);
}

function start(...module: string[]): Promise<Served> {
  const child = spawn(PYTHON, ["-u", "-m", ...module], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  let errors = "";
  child.stderr.on("data", (text) => (errors += text));
  return new Promise((resolve, reject) => {
    child.stdout.on("data", (text) => {
      const url = /http:[^\s)]+/.exec(String(text))?.[0];
      const stop = () => {
        child.kill("SIGINT");
        return ended;
      };
      if (url) resolve({ url, stop });
    });
    void ended.then(() => reject(new Error(`the server ended: ${errors}`)));
  });
}

export function launch(...flags: string[]): Promise<Browser> {
  // Chromium looks up its maker's hosts unasked: of all names it shall know the page's alone.
  const rules = `MAP ${INSECURE_HOST} 127.0.0.1 , MAP * ~NOTFOUND , EXCLUDE 127.0.0.1`;
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", `--host-resolver-rules=${rules}`, ...flags] });
}

/** A page in a profile of its own, with all requests that it and its workers make. */
export interface Visit {
  context: BrowserContext;
  page: Page;
  requests: string[];
  problems: string[];
}

/** Opens the page; `before` prepares its context. */
export async function visit(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
  before?: (context: BrowserContext) => Promise<unknown>,
): Promise<Visit> {
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "dark", acceptDownloads: true, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const requests: string[] = [];
  const problems: string[] = [];
  context.on("request", (request) => requests.push(request.url()));
  await before?.(context);
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) problems.push(message.text());
  });
  await page.goto(url);
  return { context, page, requests, problems };
}

export const state = (page: Page) => page.evaluate(() => document.body.dataset["state"]);

/** Waits until the model is loaded. */
export async function started(page: Page): Promise<string> {
  await page.waitForFunction(() => /^(WebAssembly|WebGPU|No engine)/.test(document.getElementById("engine")!.textContent!));
  return (await page.textContent("#engine"))!;
}

/** Waits until the stems are there, or an error is. */
export async function separated(page: Page): Promise<void> {
  await page.waitForFunction(() => document.body.dataset["state"] === "ready" || document.body.dataset["state"] === "idle" && !document.getElementById("error")!.hidden);
  if (await page.isVisible("#error")) throw new Error((await page.textContent("#error"))!);
}

export async function choose(page: Page, path: string): Promise<void> {
  await page.setInputFiles("#file", path);
}

/** Takes a model file in place of the default one. */
export async function openModel(page: Page, path: string): Promise<void> {
  await started(page);
  await choose(page, path);
  await page.waitForFunction(() => document.querySelector<HTMLSelectElement>("#model")!.selectedOptions[0]!.text.includes("from your file"));
  await started(page);
}

/** Loads the page again and separates a song; returns the engine and the summary. */
export async function again(page: Page, path: string): Promise<string> {
  await page.reload();
  const engine = await started(page);
  await choose(page, path);
  await separated(page);
  return `${engine} ${await page.textContent("#summary")}`;
}

/** Drops a file on the page, as from a file manager. */
export async function drop(page: Page, path: string, name: string): Promise<void> {
  const bytes = readFileSync(path).toString("base64");
  await page.evaluate(
    ([data, fileName]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(data!), (letter) => letter.charCodeAt(0))], fileName!));
      for (const kind of ["dragover", "drop"]) {
        document.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
      }
    },
    [bytes, name],
  );
}

/** Clicks a button and returns the file that it saves, and its name. */
export async function download(page: Page, act: () => Promise<void>): Promise<{ name: string; data: Buffer }> {
  const [saved] = await Promise.all([page.waitForEvent("download"), act()]);
  const data = readFileSync(await saved.path());
  return { name: saved.suggestedFilename(), data };
}

/** Reads a WAV file of 16-bit samples, interleaved. */
export function samples(wav: Buffer): Float32Array {
  const data = wav.subarray(44);
  if (wav.toString("latin1", 0, 4) !== "RIFF" || wav.readUInt32LE(40) !== data.length) throw new Error("not a WAV file");
  return Float32Array.from({ length: data.length / 2 }, (_, at) => data.readInt16LE(2 * at) / 32768);
}

/** A sample of noise, as 16 bits. */
function noise(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 18) - 8192;
  };
}

/** Writes a WAV file of 16-bit samples, by default of noise. */
export function wavFile(name: string, seconds: number, channels: number, rate = 44100, sample: (at: number) => number = noise()): string {
  const length = Math.round(seconds * rate) * channels;
  const wav = Buffer.alloc(44 + 2 * length);
  wav.write("RIFF", 0, "latin1");
  wav.writeUInt32LE(36 + 2 * length, 4);
  wav.write("WAVEfmt ", 8, "latin1");
  wav.writeUInt32LE(16, 16);
  [1, channels].forEach((value, at) => wav.writeUInt16LE(value, 20 + 2 * at));
  [rate, rate * channels * 2].forEach((value, at) => wav.writeUInt32LE(value, 24 + 4 * at));
  [channels * 2, 16].forEach((value, at) => wav.writeUInt16LE(value, 32 + 2 * at));
  wav.write("data", 36, "latin1");
  wav.writeUInt32LE(2 * length, 40);
  for (let at = 0; at < length; at++) wav.writeInt16LE(sample(at), 44 + 2 * at);
  const path = join(FOLDER, name);
  writeFileSync(path, wav);
  return path;
}

export interface Reference {
  sources: string[];
  /** SNR to the model that the file was made of, in dB, as its contract states. */
  parity: number;
  stem(source: string): Float32Array;
}

const SCRIPT = `
import sys, pathlib, soundfile
from mmdense_edge import Separator
model, song, out = sys.argv[1:]
separator = Separator(model)
audio, rate = soundfile.read(song, dtype="float32", always_2d=True)
for name, stem in separator.separate(audio, rate).items():
    stem.tofile(pathlib.Path(out, name + ".f32"))
print(separator.contract.parity.get("snr_db", 0), *separator.sources, sep="\\n")
`;

/** What the runner makes of a song with a model, bundled or a file, in floats, interleaved. */
export function reference(model: string, song: string): Reference {
  const folder = join(FOLDER, basename(model));
  if (!existsSync(folder)) mkdirSync(folder);
  const told = execFileSync(PYTHON, ["-c", SCRIPT, model, song, folder], { encoding: "utf8" }).trim().split("\n");
  const stem = (source: string) => {
    const bytes = Uint8Array.from(readFileSync(join(folder, `${source}.f32`)));
    return new Float32Array(bytes.buffer);
  };
  return { parity: Number(told[0]), sources: told.slice(1), stem };
}

/** Signal to difference, in dB. */
export function snr(expected: Float32Array, found: Float32Array): number {
  let [signal, noise] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    signal += expected[at]! ** 2;
    noise += (expected[at]! - found[at]!) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

export function power(signal: Float32Array): number {
  return signal.reduce((sum, value) => sum + value * value, 0);
}
