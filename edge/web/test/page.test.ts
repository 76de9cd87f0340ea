/** The page's parts that need no browser: mix, player's clock, words. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { longestSeconds } from "../src/page/decode";
import { clock, remaining, songName, spoken } from "../src/page/format";
import { freshMix, gains } from "../src/page/mix";
import { Player } from "../src/page/player";
import { mixed } from "../src/page/track";
import type { Track } from "../src/page/track";
import { loudest } from "../src/page/waveform";

test("solo silences all others, mute silences a soloed one, too", () => {
  const mix = freshMix(3);
  expect(gains(mix)).toEqual([1, 1, 1]);
  mix[0]!.solo = mix[1]!.solo = true;
  mix[1]!.muted = true;
  mix[0]!.volume = 0.25;
  expect(gains(mix)).toEqual([0.25, 0, 0]);
});

test("a sum of stems is weighted channel by channel", () => {
  const stems = [[Float32Array.of(1, 2)], [Float32Array.of(4, 8)]];
  expect([...mixed(stems, [1, 0.5])[0]!]).toEqual([3, 6]);
});

test("times are told in digits and in words", () => {
  expect([clock(0), clock(75.9), clock(3675)]).toEqual(["0:00", "1:15", "1:01:15"]);
  expect([spoken(0), spoken(61), spoken(120)]).toEqual(["0 seconds", "1 minute 1 second", "2 minutes"]);
  expect([remaining(0.2), remaining(12.4), remaining(119)]).toEqual(["about 1 s left", "about 12 s left", "about 2 min left"]);
});

test("a song's name is fit to be a file's name", () => {
  expect(songName("Song: a/b?.mp3")).toBe("Song_ a_b_");
  expect(songName("../../etc/passwd")).toBe("_.._etc_passwd");
  expect(songName(".mp3")).toBe("song");
  expect(songName("no ending")).toBe("no ending");
});

test("how long a song may be follows from the device's memory", () => {
  expect(longestSeconds(44100, 4) / 60).toBeCloseTo(25.4, 1);
  vi.stubGlobal("navigator", {});
  expect(longestSeconds(44100)).toBe(longestSeconds(44100, 4));
  vi.stubGlobal("navigator", { deviceMemory: 64 });
  expect(longestSeconds(44100)).toBe(longestSeconds(44100, 8));
  expect(longestSeconds(44100, 2)).toBeGreaterThan(600);
});

test("a bar of the waveform shows the loudest sample of its stretch", () => {
  const peaks = Float32Array.of(-0.1, 0.2, -0.6, 0.1, 0, 0.3, -0.2, 0.1);
  expect([loudest(peaks, 0, 2), loudest(peaks, 1, 2)].map((value) => value.toFixed(2))).toEqual(["0.60", "0.30"]);
  expect(loudest(peaks, 7, 8)).toBeCloseTo(0.2);
});

interface Started {
  at: number;
  first: number;
  length: number;
  gain: FakeGain;
}

class FakeGain {
  readonly gain: { value: number; setTargetAtTime(value: number): void };

  constructor(_: unknown, { gain }: { gain: number }) {
    this.gain = { value: gain, setTargetAtTime: (value) => (this.gain.value = value) };
  }

  connect(): void {}
}

const RATE = 1000;
let started: Started[] = [];
let stopped = 0;
let audio: { currentTime: number };

class FakeSource {
  private gain!: FakeGain;
  onended = null;

  constructor(_: unknown, private readonly options: { buffer: { first: number; length: number } }) {}

  connect(gain: FakeGain): void {
    this.gain = gain;
  }

  start(at: number): void {
    started.push({ at, ...this.options.buffer, gain: this.gain });
  }

  stop(): void {
    stopped++;
  }
}

class FakeContext {
  currentTime = 0;
  readonly sampleRate = RATE;

  constructor() {
    audio = this;
  }

  createBuffer(_: number, length: number) {
    const buffer = { length, first: 0, copyToChannel: (samples: Float32Array) => (buffer.first = samples[0]!) };
    return buffer;
  }

  async resume(): Promise<void> {}
  async close(): Promise<void> {}
}

beforeEach(() => {
  [started, stopped] = [[], 0];
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("navigator", { audioSession: { type: "auto" } });
  vi.stubGlobal("AudioContext", FakeContext);
  vi.stubGlobal("GainNode", FakeGain);
  vi.stubGlobal("AudioBufferSourceNode", FakeSource);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** A track of two mono stems; a sample's value is its number, and pieces end every 1500 samples. */
function trackOf(available: number, numSamples = 20_000) {
  const read = async (start: number, most: number) => {
    const end = Math.min(start + most, Math.ceil((start + 1) / 1500) * 1500, track.available);
    const samples = Float32Array.from({ length: end - start }, (_, at) => start + at);
    return [[samples], [samples]];
  };
  const track = { available, numSamples, sampleRate: RATE, read } as unknown as Track;
  return track;
}

async function pass(seconds: number): Promise<void> {
  for (let step = 0; step < seconds * 5; step++) {
    audio.currentTime += 0.2;
    await vi.advanceTimersByTimeAsync(200);
  }
}

function isGapless(parts: Started[]): boolean {
  return parts.every(({ at, first }, index) => {
    const before = parts[index - 1];
    return !before || (Math.abs(at - before.at - before.length / RATE) < 1e-9 && first === before.first + before.length);
  });
}

test("the player puts buffers on the clock without gaps, all stems at the same times", async () => {
  const player = new Player(trackOf(20_000), [1, 0.5], () => {});
  await player.play();
  await pass(12);
  const [bass, vocals] = [started.filter((_, at) => at % 2 === 0), started.filter((_, at) => at % 2 === 1)];
  expect(isGapless(bass) && isGapless(vocals)).toBe(true);
  expect(vocals.map(({ at }) => at)).toEqual(bass.map(({ at }) => at));
  expect(bass[0]!.first).toBe(0);
  expect(bass.at(-1)!.first + bass.at(-1)!.length).toBeLessThan(12_000 + 5000 + 2000 + 1);
  expect([bass[0]!.gain.gain.value, vocals[0]!.gain.gain.value]).toEqual([1, 0.5]);
  expect(player.position).toBeGreaterThan(11_800);
  await pass(9);
  expect([player.isPlaying, player.position]).toEqual([false, 0]);
});

test("pause keeps the place, seek starts at the sample asked for", async () => {
  const player = new Player(trackOf(20_000), [1, 1], () => {});
  await player.play();
  await pass(3);
  player.pause();
  const here = player.position;
  expect(here).toBeGreaterThan(2800);
  expect(stopped).toBeGreaterThan(0);
  await pass(1);
  expect(player.position).toBe(here);
  started = [];
  await player.play();
  await pass(0.2);
  expect(started[0]!.first).toBe(here);
  player.seek(7777);
  await pass(0.2);
  expect(started.at(-1)!.first).toBeGreaterThanOrEqual(7777);
  expect(started.find(({ first }) => first === 7777)).toBeDefined();
});

test("what is not separated yet is waited for, and then goes on where it was", async () => {
  const track = trackOf(1500);
  const player = new Player(track, [1, 1], () => {});
  await player.play();
  await pass(4);
  expect(player.position).toBe(1500);
  track.available = 6000;
  await pass(0.4);
  const bass = started.filter((_, at) => at % 2 === 0);
  expect(bass[1]!.first).toBe(1500);
  expect(bass[1]!.at).toBeGreaterThan(audio.currentTime - 0.4);
  expect(isGapless(bass.slice(1))).toBe(true);
});

test("a soloed stem is heard at once", async () => {
  const player = new Player(trackOf(20_000), [1, 1], () => {});
  await player.play();
  await pass(0.2);
  player.setGains([0, 1]);
  expect((navigator as { audioSession?: { type: string } }).audioSession!.type).toBe("playback");
  expect(started[0]!.gain.gain.value).toBe(0);
});

test("samples that were read for a place that was left are not played", async () => {
  const track = trackOf(20_000);
  const { read } = track;
  let release = () => {};
  track.read = async (start, most) => {
    if (start === 0) await new Promise<void>((resolve) => (release = resolve));
    return read(start, most);
  };
  const player = new Player(track, [1, 1], () => {});
  await player.play();
  player.seek(7777);
  await pass(0.2);
  release();
  await pass(0.4);
  expect(started.map(({ first }) => first)).not.toContain(0);
  expect(isGapless(started.filter((_, at) => at % 2 === 0))).toBe(true);
});
