/** Live: the worker's stems beside those of the whole signal, the audio thread's line beside its rule. */
import { expect, test } from "vitest";
import { Cancelled } from "../src/errors";
import { Line, type Piece } from "../src/live/line";
import type { Contract } from "../src/model/contract";
import { latency } from "../src/model/contract";
import { Frames } from "../src/signal/transform";
import type { Network } from "../src/signal/windows";
import { Separation } from "../src/signal/windows";
import { lineOf, live } from "../src/worker/live";

const HOP = 16;
const BLOCK = 8;

/** Two sources, which add up to the mixture. */
function contractOf(nFft: number, frames: number, contextFrames: number): Contract {
  return {
    name: "halves", sources: ["a", "b"], sampleRate: 1000, transform: { nFft, hopLength: HOP }, bins: nFft / 2 + 1, channels: 2, frames, contextFrames,
    input: "mixture", outputs: new Map(), output: "mask", precision: "float32", licence: "", parity: new Map(),
  };
}

const CAUSAL = contractOf(64, 1, 0);
const halves: Network = async (magnitude) => new Map(["a", "b"].map((source) => [source, magnitude.map(() => 0.5)]));

function noise(length: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length }, () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5);
}

/** Lets messages through until something is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

/** Up to where there are stems. */
function end(pieces: Piece[]): number {
  const last = pieces.at(-1);
  return last ? last.start + last.stems[0]![0]!.length : 0;
}

/** Runs the worker's side; the function that is returned sends samples and gives back the pieces that came. */
async function worker(contract: Contract, allowed: number, open = () => halves) {
  const { port1, port2 } = new MessageChannel();
  const abort = new AbortController();
  const ended = live(port2 as unknown as MessagePort, contract, open, await Frames.open(contract.transform), allowed, abort.signal);
  const pieces: Piece[] = [];
  port1.onmessage = ({ data }) => pieces.push(data);
  const send = (samples: Float32Array) => {
    for (let at = 0; at < samples.length; at += HOP) port1.postMessage([samples.subarray(at, at + HOP), samples.subarray(at, at + HOP)]);
  };
  return { send, pieces, abort, ended: ended.finally(() => port1.close()) };
}

test.each([CAUSAL, contractOf(32, 8, 2), contractOf(64, 12, 4)])("hop by hop the stems are those of the whole signal, within the latency", async (contract) => {
  const samples = noise(50 * HOP);
  const { send, pieces, abort, ended } = await worker(contract, Infinity);
  for (let sent = HOP; sent <= samples.length; sent += HOP) {
    send(samples.subarray(sent - HOP, sent));
    // Until the next hop is there the line plays a hop more, which has to be there now.
    await until(() => end(pieces) >= sent + HOP - latency(contract));
  }
  abort.abort();
  await expect(ended).rejects.toThrow(Cancelled);
  const whole = new Separation(contract, () => halves, await Frames.open(contract.transform), 2);
  whole.push([samples, samples]);
  let at = 0;
  for (const { start, stems } of pieces) {
    expect(start).toBe(at);
    stems[1]![0]!.forEach((value, index) => expect(value).toBeCloseTo(samples[at + index]! / 2, 5));
    at += stems[0]![0]!.length;
  }
});

test("windows that would be late are left out, with all samples that they reach, and then it goes on", async () => {
  const samples = noise(60 * HOP);
  let calls = 0;
  const counted = () => (magnitude: Float32Array) => (calls++, halves(magnitude));
  const { send, pieces, abort, ended } = await worker(CAUSAL, 96, counted);
  send(samples.subarray(0, 40 * HOP)); // at once, as after a pause of the machine
  await until(() => calls > 0);
  for (let at = 40 * HOP; at < samples.length; at += HOP) {
    const before = calls;
    send(samples.subarray(at, at + HOP));
    await until(() => calls > before);
  }
  await until(() => end(pieces) >= 56 * HOP);
  abort.abort();
  await expect(ended).rejects.toThrow(Cancelled);
  expect(calls).toBeLessThan(40);
  expect(pieces.length).toBeGreaterThan(10);
  for (const { start, stems } of pieces) {
    stems[0]![0]!.forEach((value, index) => expect(value).toBeCloseTo(samples[start + index]! / 2, 5));
  }
});

test("a run plays a step and at least 30 ms later than it could, in whole blocks of the audio thread", () => {
  expect(lineOf(CAUSAL)).toEqual({ latency: 256, hopLength: HOP }); // 48 + 64 + 16 hops' wait, 30, 128
  const model = { ...CAUSAL, sampleRate: 44100, transform: { nFft: 2048, hopLength: 512 } };
  expect(latency(model)).toBe(2048);
  expect(lineOf(model).latency).toBe(3584);
  const windows = { ...contractOf(4096, 192, 32), sampleRate: 44100, transform: { nFft: 4096, hopLength: 1024 } };
  expect(lineOf(windows).latency).toBeGreaterThan(latency(windows) + 128 * 1024);
});

/** Plays blocks of ones through a line of two stems, 0.25 and 0.5 of them; `known` says up to where there are stems before block n. */
function play(blocks: number, delay: number, known: (block: number) => number, gap = [0, 0]) {
  const line = new Line(1, delay);
  let delivered = 0;
  return Array.from({ length: blocks }, (_, block) => {
    while (delivered < known(block)) {
      const [start, length] = [delivered, 12]; // no multiple of a block
      delivered += length;
      if (start < gap[0]! || start >= gap[1]!) line.deliver({ start, stems: [0.25, 0.5].map((value) => [new Float32Array(length).fill(value)]) });
    }
    const outputs = Array.from({ length: 3 }, () => [new Float32Array(BLOCK)]);
    line.exchange([new Float32Array(BLOCK).fill(1)], outputs);
    return { ends: outputs.map(([samples]) => samples!.at(-1)!), dropouts: line.dropouts };
  });
}

test("stems that are there are played after the latency, and silence before", () => {
  const played = play(10, 3 * BLOCK, () => 200);
  expect(played.map(({ ends }) => ends[0])).toEqual([0, 0, 0, ...Array(7).fill(0.25)]);
  expect(played.map(({ ends }) => ends[1])).toEqual([0, 0, 0, ...Array(7).fill(0.5)]);
  expect(played.every(({ ends, dropouts }) => ends[2] === 0 && dropouts === 0)).toBe(true);
});

test("where stems are missing the mixture is played, faded in before and out after", () => {
  const played = play(20, 2 * BLOCK, () => 400, [48, 84]);
  const wet = played.map(({ ends }) => ends[0]! / 0.25);
  expect(wet).toEqual([0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
  played.slice(2).forEach(({ ends }, at) => expect(ends[2]).toBe(1 - wet[at + 2]!));
  expect(played.map(({ dropouts }) => dropouts)).toEqual([...Array(7).fill(0), ...Array(13).fill(1)]);
});

test("stems that come too late are never played, and what follows is in its place", () => {
  const line = new Line(1, 2 * BLOCK);
  const outputs = () => Array.from({ length: 2 }, () => [new Float32Array(BLOCK)]);
  const samples = Float32Array.from({ length: 200 }, (_, at) => at);
  const heard: number[] = [];
  for (let block = 0; block < 12; block++) {
    if (block === 6) for (let start = 0; start < 120; start += BLOCK) line.deliver({ start, stems: [[samples.slice(start, start + BLOCK)]] });
    const [stem, mixture] = outputs();
    line.exchange([samples.slice(block * BLOCK, (block + 1) * BLOCK)], [stem!, mixture!]);
    for (let at = 0; at < BLOCK; at++) heard.push(stem![0]![at]! + mixture![0]![at]!);
  }
  heard.forEach((value, at) => expect(value).toBeCloseTo(Math.max(0, at - 2 * BLOCK), 4));
  expect(line.dropouts).toBe(1);
});

test("a source that has gone is silence", () => {
  const line = new Line(1, BLOCK);
  const out = () => [[new Float32Array(BLOCK)]];
  line.exchange([new Float32Array(BLOCK).fill(1)], out());
  const second = out();
  line.exchange([], second);
  const third = out();
  line.exchange([], third);
  expect([second[0]![0]!.at(-1), third[0]![0]!.at(-1)]).toEqual([1, 0]);
});
