/**
 * Live: what the microphone hears comes out of the mixer a moment later.
 *
 * `npm run live` measures how much later with the bundled live model, or with the file that MODEL names.
 */
import { readFileSync } from "node:fs";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ModelEntry } from "../src/page/models";
import * as use from "./harness";

const MODEL = process.env["MODEL"] ?? use.CAUSAL_MODEL;
const PERIOD_SECONDS = 1;
const RATE = 48000;

let browser: Browser;
let served: use.Served;

beforeAll(async () => {
  const click = (at: number) => (at < 0.5 * RATE || at >= 0.5 * RATE + 8 ? 0 : 28000);
  const file = use.wavFile("clicks.wav", PERIOD_SECONDS, 1, RATE, click);
  const flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required", "--auto-select-tab-capture-source-by-title=music"];
  [served, browser] = await Promise.all([use.serve(), use.launch(...flags, `--use-file-for-fake-audio-capture=${file}`)]);
});

afterAll(async () => {
  await browser.close();
  await served.stop();
});

/** What goes into the page and what it plays, as streams with the times of their samples. */
interface Taps {
  /** The microphone, with the times at which its samples were captured. */
  microphone: MediaStream;
  /** The same as it arrives in the page's audio context. */
  input: MediaStreamAudioDestinationNode;
  /** The stems as they leave their faders. */
  output: MediaStreamAudioDestinationNode;
  context: AudioContext;
}

/** Runs before the page's own code. */
function tap(): void {
  const taps = {} as Taps;
  Object.assign(globalThis, { taps });
  const { connect } = AudioNode.prototype as { connect(this: AudioNode, to: AudioNode, ...rest: number[]): AudioNode };
  AudioNode.prototype.connect = function (this: AudioNode, to: AudioNode, ...rest: number[]) {
    const context = this.context as AudioContext;
    if (this instanceof MediaStreamAudioSourceNode) {
      [taps.context, taps.microphone] = [context, this.mediaStream];
      connect.call(this, (taps.input = context.createMediaStreamDestination()));
    }
    // The faders, not the mixture that is played where stems are late.
    if (to === context.destination && this instanceof GainNode) connect.call(this, (taps.output ??= context.createMediaStreamDestination()), ...rest);
    return connect.call(this, to, ...rest);
  } as AudioNode["connect"];
}

/** Puts a model into the page's list. */
async function bundle(context: BrowserContext): Promise<void> {
  const body = readFileSync(MODEL);
  const url = "models/live.tflite";
  const entry: ModelEntry = { name: "live", title: "live", url, bytes: body.length, precision: "float32", isDefault: false, isCausal: true };
  await context.route("**/models.json", async (route) => {
    const listed = (await (await route.fetch()).json()) as ModelEntry[];
    await route.fulfill({ json: [entry, ...listed] });
  });
  await context.route(`**/${url}`, (route) => route.fulfill({ body }));
}

interface Clicks {
  microphone: number[];
  input: number[];
  output: number[];
  peaks: number[];
  outputLatency: number;
}

/** Listens for some seconds and returns when each click was loudest, in seconds of one clock. */
async function listen(seconds: number): Promise<Clicks> {
  const { microphone, input, output, context } = (globalThis as unknown as { taps: Taps }).taps;
  const Processor = (globalThis as unknown as { MediaStreamTrackProcessor: new (init: { track: MediaStreamTrack }) => { readable: ReadableStream<AudioData> } }).MediaStreamTrackProcessor;
  async function clicks({ stream }: { stream: MediaStream }) {
    const reader = new Processor({ track: stream.getAudioTracks()[0]!.clone() }).readable.getReader();
    const found: { time: number; peak: number }[] = [];
    for (let end = Infinity; ; ) {
      const data = (await reader.read()).value!;
      const start = data.timestamp / 1e6;
      end = Math.min(end, start + seconds);
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      samples.forEach((sample, at) => {
        const [time, peak] = [start + at / data.sampleRate, Math.abs(sample)];
        const last = found.at(-1);
        if (last && time < last.time + 0.4) {
          if (peak > last.peak) Object.assign(last, { time, peak });
        } else if (peak > 0.05) found.push({ time, peak });
      });
      data.close();
      if (start > end) break;
    }
    await reader.cancel();
    return found;
  }
  const [heard, inside, played] = await Promise.all([{ stream: microphone }, input, output].map(clicks));
  const times = (found: { time: number }[]) => found.map(({ time }) => time);
  return {
    microphone: times(heard!),
    input: times(inside!),
    output: times(played!),
    peaks: played!.map(({ peak }) => peak),
    outputLatency: context.outputLatency,
  };
}

/** The median delay of `later` after `earlier` within a period, in ms. */
function delay(earlier: number[], later: number[]): number {
  const delays = earlier.flatMap((time) => later.filter((other) => other >= time && other < time + PERIOD_SECONDS).slice(0, 1).map((other) => other - time));
  return Number((1000 * delays.sort((a, b) => a - b)[Math.floor(delays.length / 2)]!).toFixed(1));
}

const mute = (page: Page, stem: string) => page.getByLabel(`Mute ${stem}`).click();

test("a click at the microphone comes out of the mixer, and not if its stems are muted", async () => {
  const { page, context, problems } = await use.visit(browser, served.url, { permissions: ["microphone"], serviceWorkers: "block" }, (context) =>
    Promise.all([context.addInitScript(tap), bundle(context)]),
  );
  await use.started(page);
  expect(await page.inputValue("#model")).not.toBe("live");
  await page.click("#microphone");
  await page.waitForFunction(() => document.body.dataset["state"] === "live");
  expect(await page.inputValue("#model")).toBe("live"); // the one that is causal
  const { microphone, input, output, peaks, outputLatency } = await page.evaluate(listen, 4);
  const summary = (await page.textContent("#summary"))!;
  console.log(
    `from the microphone's click to the mixer's ${delay(microphone, output)} ms, of which ${delay(input, output)} ms in the page's ` +
      `audio context; output device ${Math.round(1000 * outputLatency)} ms. The page says: ${summary}`,
  );
  expect(output.length).toBeGreaterThan(0);
  expect(summary).toMatch(/^Latency \d+ ms, drop-outs \d+$/);
  if (MODEL === use.CAUSAL_MODEL) expect(Math.max(...peaks)).toBeGreaterThan(0.5);
  for (const stem of await page.locator(".stem h3").allTextContents()) await mute(page, stem.toLowerCase());
  const muted = await page.evaluate(listen, 3);
  // The first click may have been on its way.
  expect(muted.output.filter((time) => time > muted.microphone[1]!)).toEqual([]);
  await page.click("#stop");
  await page.waitForFunction(() => document.body.dataset["state"] === "idle");
  expect(await page.isVisible("#mixer")).toBe(false);
  expect(problems).toEqual([]);
  await context.close();
});

test("another tab: its sound goes in, a song that is chosen meanwhile ends the run", async () => {
  const { page, context } = await use.visit(browser, served.url);
  await use.openModel(page, use.CAUSAL_MODEL);
  const other = await context.newPage();
  await other.goto(`${served.url}licences.txt`);
  await other.evaluate(() => (document.title = "music"));
  await page.bringToFront();
  await page.click("#tab");
  await page.waitForFunction(() => document.body.dataset["state"] === "live" || !document.getElementById("error")!.hidden);
  expect(await page.textContent("#error")).toBe("");
  expect(await page.textContent("#song")).toBe("Tab");
  await use.choose(page, use.wavFile("after.wav", 1, 2));
  await use.separated(page);
  expect(await page.textContent("#song")).toBe("after");
  await context.close();
});
