/** The page's transform and windows beside the runner's, on what make_reference.py wrote. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Contract, States } from "../src/model/contract";
import { groups } from "../src/signal/channels";
import { Frames, hann, padded } from "../src/signal/transform";
import { Memory, type Network, Separation } from "../src/signal/windows";

type Case = [number, number, number, number, number, number, "mask" | "magnitude", number, number];

const SOURCES = ["bass", "vocals"];
const cases = JSON.parse(readFileSync(new URL("reference.json", import.meta.url), "utf8")) as {
  case: Case;
  stems: Record<string, string>;
}[];

function signal(numSamples: number, channels: number): Float32Array[] {
  let state = 1;
  const out = Array.from({ length: channels }, () => new Float32Array(numSamples));
  for (let sample = 0; sample < numSamples; sample++) {
    for (const channel of out) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      channel[sample] = state / 2 ** 32 - 0.5;
    }
  }
  out.at(-1)!.fill(0, Math.floor(numSamples / 3), Math.floor(numSamples / 2));
  return out;
}

function contractOf([nFft, hopLength, bins, channels, frames, contextFrames, output]: Case): Contract {
  const kept = bins * channels;
  const states: States = { input: "past", output: "present", taps: [[0, kept, 1], [kept / 2, kept, 3]], read: 1.5 * kept, kept, frames: 3 };
  return {
    name: "formula",
    sources: SOURCES,
    sampleRate: 44100,
    transform: { nFft, hopLength },
    bins,
    channels,
    frames,
    contextFrames,
    input: "mixture",
    outputs: new Map(SOURCES.map((source) => [source, source])),
    output,
    precision: "float32",
    licence: "",
    parity: new Map(),
    ...(frames === 1 && { states }),
  };
}

function networkOf({ bins, channels, output, states }: Contract): Network {
  const memory = states && new Memory(states);
  return async (magnitude) => {
    const row = bins * channels;
    const past = memory?.past();
    const aroundOf = (at: number) =>
      past ? past[at]! + (at < row / 2 ? 0 : past[at + row / 2]!) : (magnitude[at - row] ?? 0) + (magnitude[at + row] ?? 0);
    const answer = (source: number) =>
      magnitude.map((value, at) => {
        const [frame, bin] = [Math.floor(at / row), Math.floor(at / channels) % bins];
        const around = aroundOf(at);
        const share = ((((7 * frame + 3 * bin + 5 * (at % channels) + source) % 11) / 8) * (around + 1)) / (around + 2);
        return output === "mask" ? share : share * value;
      });
    const answers = new Map(SOURCES.map((source, index) => [source, answer(index)]));
    memory?.keep(magnitude);
    return answers;
  };
}

/** Separates a signal that comes in blocks of `length` samples. */
async function separate(which: Case, mixture = signal(which[8], which[7]), length = which[8]): Promise<Map<string, Float32Array[]>> {
  const contract = contractOf(which);
  const frames = await Frames.open(contract.transform);
  const channels = which[7];
  const stems = new Map(SOURCES.map((source) => [source, [] as Float32Array[]]));
  for (const group of groups(channels)) {
    const part = new Separation(contract, () => networkOf(contract), frames, group.length);
    const blocks: Map<string, Float32Array[]>[] = [];
    for (let start = 0; start < which[8]; start += length) {
      part.push(group.map((channel) => mixture[channel]!.subarray(start, start + length)));
      if (start + length >= which[8]) part.end();
      while (part.isReady) blocks.push(await part.next());
    }
    for (const [source, channelsOf] of stems) {
      group.forEach((_, at) => channelsOf.push(joined(blocks.map((block) => block.get(source)![at]!))));
    }
  }
  return stems;
}

function joined(parts: Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

test.each(cases)("stems are the runner's: $case", async ({ case: which, stems }) => {
  const [channels, numSamples] = [which[7], which[8]];
  const found = await separate(which);
  for (const source of SOURCES) {
    const bytes = Uint8Array.from(Buffer.from(stems[source]!, "base64"));
    const expected = new Float32Array(bytes.buffer);
    expect(expected.length).toBe(numSamples * channels);
    found.get(source)!.forEach((samples, channel) => {
      expect(samples.length).toBe(numSamples);
      samples.forEach((value, at) => expect(Math.abs(value - expected[at * channels + channel]!)).toBeLessThan(2e-6));
    });
  }
});

test.each([...cases.map(({ case: which }) => which)])("a signal that comes in blocks has the same stems: %j", async (...which) => {
  const whole = await separate(which);
  for (const length of [1, 7, which[1], 100]) expect(await separate(which, undefined, length)).toEqual(whole);
});

test.each(["mask", "magnitude"] as const)("equal channels come back equal, by %s", async (output) => {
  const [one] = signal(1500, 1);
  const stems = await separate([256, 64, 96, 2, 12, 2, output, 2, 1500], [one!, one!.slice()]);
  for (const [left, right] of stems.values()) {
    expect(left!.some((value) => Math.abs(value) > 0.01)).toBe(true);
    expect(right).toEqual(left);
  }
});

test("a cosine of full scale has a magnitude of n_fft / 4 in its bin, and comes back n_fft times", async () => {
  const frames = await Frames.open({ nFft: 96, hopLength: 16 });
  const { spectrum, samples } = frames;
  const wave = Float32Array.from({ length: 100 }, (_, at) => Math.cos((2 * Math.PI * 5 * (at - 4)) / 96));
  frames.analyse(wave, 4);
  expect(spectrum.length).toBe(96);
  spectrum.forEach((value, at) => expect(value).toBeCloseTo(at === 10 ? 24 : at === 8 || at === 12 ? -12 : 0, 4));
  frames.inverse();
  samples.forEach((value, at) => expect(value).toBeCloseTo(96 * frames.window[at]! * wave[4 + at]!, 3));
});

test("a model that answers with NaN is refused", async () => {
  const contract = contractOf(cases[0]!.case);
  const network: Network = async (magnitude) => new Map(SOURCES.map((source) => [source, magnitude.map((_, at) => (at === 120 ? NaN : 1))]));
  const part = new Separation(contract, () => network, await Frames.open(contract.transform), 2);
  part.push(signal(1000, 2));
  await expect(part.next()).rejects.toThrow(/formula answered with NaN or infinity for bass/);
});

test("the window is the periodic one: its shifts by a quarter add up to 2", () => {
  const window = hann(64);
  for (let at = 0; at < 16; at++) {
    expect(window[at]! + window[at + 16]! + window[at + 32]! + window[at + 48]!).toBeCloseTo(2, 6);
  }
});

test("ends are reflected without the edge sample, then come zeros", () => {
  expect([...padded(Float32Array.of(1, 2, 3), -3, 10, 3)]).toEqual([2, 3, 2, 1, 2, 3, 2, 1, 2, 0]);
  expect([...padded(Float32Array.of(4), -2, 6, 2)]).toEqual([4, 4, 4, 4, 4, 0]);
});

test.each([48, 224])("a transform of %i samples is refused with its size", async (nFft) => {
  await expect(Frames.open({ nFft, hopLength: 16 })).rejects.toThrow(`32 times powers of 2, 3 and 5, the model has ${nFft}`);
});

test.each([
  [1, [[0]]],
  [2, [[0, 1]]],
  [3, [[0, 1], [2]]],
  [4, [[0, 1], [2, 3]]],
  [6, [[0, 1], [2], [3], [4, 5]]],
  [9, [[0, 1], [2, 3], [4, 5], [6, 7], [8]]],
])("%i channels are separated in the runner's groups", (channels, expected) => {
  expect(groups(channels)).toEqual(expected);
});
