/** What the page writes: WAV and ZIP files, read back by other means. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 as zlibCrc32 } from "node:zlib";
import { expect, test } from "vitest";
import { crc32 } from "../src/crc32";
import type { Segment } from "../src/messages";
import { Track } from "../src/page/track";
import { fromPcm, toPcm, wavHeader } from "../src/wav";
import { Peaks, Stem } from "../src/worker/stem";
import { zip } from "../src/zip";

const PYTHON = process.env["MMDENSE_PYTHON"] ?? "python3";
const text = (letters: string) => new TextEncoder().encode(letters);
const bytes = async (blob: Blob) => new Uint8Array(await blob.arrayBuffer());
const memory = { keep: async (data: Uint8Array<ArrayBuffer>) => new Blob([data]), clear: async () => {} };

test("CRC-32 is zlib's, in one piece and in parts", () => {
  const data = text("123456789");
  expect(crc32(data)).toBe(0xcbf43926);
  expect(crc32(data.subarray(4), crc32(data.subarray(0, 4)))).toBe(zlibCrc32(Buffer.from(data)));
});

test("16-bit samples are rounded to the nearest step and clipped ones counted", () => {
  const { pcm, clipped } = toPcm([Float32Array.of(0, 1.4 / 32768, 0.5, -0.4 / 32768), Float32Array.of(1, -1.5, 32767 / 32768, 2)]);
  const steps = new Int16Array(pcm.buffer);
  expect([...steps]).toEqual([0, 32767, 1, -32768, 16384, 32767, 0, 32767]);
  expect(clipped).toBe(3);
  expect([...fromPcm(pcm.buffer, 2)[0]!]).toEqual([0, 1 / 32768, 0.5, 0]);
});

test("a WAV header says what follows it", () => {
  const view = new DataView(wavHeader(1000, 2, 44100).buffer);
  const letters = (at: number) => String.fromCharCode(...new Uint8Array(view.buffer, at, 4));
  expect([letters(0), letters(8), letters(12), letters(36)]).toEqual(["RIFF", "WAVE", "fmt ", "data"]);
  expect([view.getUint32(4, true), view.getUint32(40, true)]).toEqual([4036, 4000]);
  expect([view.getUint16(22, true), view.getUint32(24, true), view.getUint16(34, true)]).toEqual([2, 44100, 16]);
});

test("a ZIP file is whole for Python's zipfile, names and contents", async () => {
  const files = [
    { name: "Söng/bass.wav", parts: [text("ab"), new Blob([text("c")])], crc: crc32(text("abc")) },
    { name: "Söng/empty.wav", parts: [], crc: 0 },
  ];
  const folder = mkdtempSync(join(tmpdir(), "zip-"));
  try {
    const path = join(folder, "stems.zip");
    writeFileSync(path, await bytes(zip(files, new Date(2026, 10, 25, 12, 30, 14))));
    const script =
      "import sys, json, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; " +
      "print(json.dumps([[i.filename, z.read(i).decode(), list(i.date_time)] for i in z.infolist()]))";
    expect(JSON.parse(execFileSync(PYTHON, ["-c", script, path], { encoding: "utf8" }))).toEqual([
      ["Söng/bass.wav", "abc", [2026, 11, 25, 12, 30, 14]],
      ["Söng/empty.wav", "", [2026, 11, 25, 12, 30, 14]],
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a ZIP file beyond 4 GiB is refused", () => {
  const large = { size: 2 ** 31 } as Blob;
  Object.setPrototypeOf(large, Blob.prototype);
  Object.defineProperty(large, "size", { value: 2 ** 31 });
  const file = { name: "a", parts: [large, large], crc: 0 };
  expect(() => zip([file], new Date())).toThrow(/holds 4 GiB/);
});

async function track(numSamples: number, cuts: number[]): Promise<{ track: Track; stems: Float32Array[][] }> {
  const stems = [0, 1].map((stem) =>
    [0, 1].map((channel) => Float32Array.from({ length: numSamples }, (_, at) => (((at * (stem + 3)) % 97) - 48) / 64 / (channel + 1))),
  );
  const made = new Track("song", ["bass", "vocals"], 2, numSamples, 44100);
  const writers = ["bass", "vocals"].map((source) => new Stem(source, memory, numSamples, 2, 44100));
  const ends = [...cuts, numSamples];
  let start = 0;
  for (const end of ends) {
    const segment: Segment = { kind: "segment", job: 1, numSamples: end - start, stems: [] };
    for (const [at, writer] of writers.entries()) {
      segment.stems.push(await writer.push(stems[at]!.map((samples) => samples.subarray(start, end)), end === numSamples));
    }
    made.append(segment);
    start = end;
  }
  made.complete({ bass: writers[0]!.crc, vocals: writers[1]!.crc });
  return { track: made, stems };
}

test("a track reads back what its segments brought, across their borders", async () => {
  const { track: made, stems } = await track(5000, [1000, 1001, 4096]);
  expect(made.available).toBe(5000);
  for (let at = 0; at < 5000; ) {
    const read = await made.read(at, 700);
    const { length } = read[0]![0]!;
    for (const stem of [0, 1]) {
      for (const channel of [0, 1]) {
        const expected = stems[stem]![channel]!.subarray(at, at + length).map((value) => Math.round(value * 32768) / 32768);
        expect(read[stem]![channel]).toEqual(expected);
      }
    }
    at += length;
  }
});

test("the ZIP's checksums, gathered while the stems came, are those of the WAV files", async () => {
  const { track: made } = await track(3000, [500]);
  const wav = await bytes(made.wav(1));
  expect(wav.length).toBe(44 + 3000 * 4);
  const view = new DataView((await bytes(made.zip(new Date()))).buffer);
  const end = view.byteLength - 22;
  const second = view.getUint32(end + 16, true) + 46 + "song/bass.wav".length;
  expect(view.getUint32(second + 16, true)).toBe(crc32(wav));
});

test("a mix is the sum of the stems times their gains", async () => {
  const { track: made, stems } = await track(50_000, [20_000]);
  const pcm = (await (await made.mix([0.5, 0])).arrayBuffer()).slice(44);
  const left = fromPcm(pcm, 2)[0]!;
  expect(left.length).toBe(50_000);
  const apart = left.map((value, at) => Math.abs(value - 0.5 * stems[0]![0]![at]!));
  expect(apart.reduce((most, value) => Math.max(most, value), 0)).toBeLessThan(2 / 32768);
});

test("peaks are the lowest and highest of each 1024 samples, whatever the blocks", () => {
  const samples = Float32Array.from({ length: 2500 }, (_, at) => Math.sin(at) * (at < 1024 ? 0.5 : 0.25));
  const peaks = new Peaks();
  const found = [...peaks.push([samples.subarray(0, 700)], false), ...peaks.push([samples.subarray(700)], true)];
  const expected = [0, 1024, 2048].flatMap((start) => {
    const part = samples.subarray(start, start + 1024);
    return [Math.min(...part), Math.max(...part)];
  });
  expect(found).toEqual(expected);
});

test("a stem of whole stretches has no peak too many", () => {
  expect(new Peaks().push([new Float32Array(2048)], true).length).toBe(2 * 2);
});
