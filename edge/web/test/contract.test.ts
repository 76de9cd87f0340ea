/** The reader of model files: what it takes and what it refuses, beside the runner's rules. */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { crc32 } from "../src/crc32";
import { ModelError } from "../src/errors";
import { split } from "../src/model/container";
import { loadModel, parse, stepFrames } from "../src/model/contract";

const MODELS = new URL("../../mmdense_edge/model/", import.meta.url);
const TESTS = new URL("../../../tests/edge/data/", import.meta.url);

type Values = Record<string, unknown>;

const file = (url: URL) => new Uint8Array(readFileSync(url));
const SHARES = file(new URL("shares.tflite", TESTS));
const { content: CONTENT, contract: TEXT } = split(SHARES);
const VALUES = JSON.parse(new TextDecoder().decode(TEXT)) as Values;
const CAUSAL = file(new URL("causal.tflite", TESTS));
const CAUSAL_VALUES = JSON.parse(new TextDecoder().decode(split(CAUSAL).contract)) as Values;

interface Archive {
  name?: string;
  method?: number;
  flags?: number;
  crc?: number;
  entries?: number;
  offset?: number;
  size?: number;
  packed?: number;
  content?: Uint8Array;
}

/** Writes a model file with an archive of one stored member, or with one thing wrong in it. */
function pack(text: Uint8Array | string, options: Archive = {}): Uint8Array {
  const body = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const content = options.content ?? CONTENT;
  const name = new TextEncoder().encode(options.name ?? "contract.json");
  const crc = options.crc ?? crc32(body);
  const size = options.size ?? body.length;
  const local = record(30, [[0, 0x04034b50, 4], [6, options.flags ?? 0, 2], [8, options.method ?? 0, 2], [14, crc, 4], [18, size, 4], [22, size, 4], [26, name.length, 2]]);
  const directory = content.length + local.length + name.length + body.length;
  const entry = record(46, [[0, 0x02014b50, 4], [8, options.flags ?? 0, 2], [10, options.method ?? 0, 2], [16, crc, 4], [20, options.packed ?? size, 4], [24, size, 4], [28, name.length, 2], [42, options.offset ?? content.length, 4]]);
  const entries = options.entries ?? 1;
  const end = record(22, [[0, 0x06054b50, 4], [8, entries, 2], [10, entries, 2], [12, entry.length + name.length, 4], [16, directory, 4]]);
  return Uint8Array.from(Buffer.concat([content, local, name, body, entry, name, end]));
}

function record(bytes: number, fields: [number, number, number][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  for (const [at, value, width] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
  }
  return new Uint8Array(view.buffer);
}

function changed(changes: Values, drop?: string): Uint8Array {
  const values = { ...VALUES, ...changes };
  if (drop) delete values[drop];
  return pack(JSON.stringify(values));
}

/** The same with a contract of version 2. */
function causal(changes: Values, states: Values = {}): Uint8Array {
  const values = { ...CAUSAL_VALUES, states: { ...(CAUSAL_VALUES["states"] as Values), ...states }, ...changes };
  return pack(JSON.stringify(values), { content: split(CAUSAL).content });
}

function refusal(data: Uint8Array): string {
  try {
    loadModel(data);
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError);
    const { message } = error as Error;
    expect(message).not.toMatch(/\n/);
    return message;
  }
  throw new Error("the model was taken");
}

test.each(readdirSync(MODELS).filter((name) => name.endsWith(".tflite")))("the bundled model %s is read", (name) => {
  const data = file(new URL(name, MODELS));
  const { contract, content } = loadModel(data);
  const stated = JSON.parse(new TextDecoder().decode(split(data).contract)) as Values;
  expect(contract.sources).toEqual(stated["sources"]);
  expect(stepFrames(contract)).toBe(Number(stated["frames"]) - 2 * Number(stated["context_frames"]));
  expect(createHash("sha256").update(content).digest("hex")).toBe(stated["model_sha256"]);
});

test("what the tests pack is read: the refusals below are for what they change", () => {
  expect(loadModel(changed({})).contract.name).toBe(VALUES["name"]);
  expect(loadModel(changed({ scores: { vocals: 1 }, macs_per_second: 1.5, note: "unknown" })).contract.bins).toBe(VALUES["bins"]);
});

test.each<[string, Uint8Array, RegExp]>([
  ["no model", new TextEncoder().encode("not a model at all"), /bytes 4 to 8 are not 'TFL3'/],
  ["empty", new Uint8Array(0), /bytes 4 to 8/],
  ["no archive", CONTENT, /carries no contract/],
  ["cut short", SHARES.slice(0, -1), /carries no contract/],
  ["a flipped byte", flipped(SHARES, 100), /checksum mismatch/],
  ["a flipped byte in the contract", flipped(SHARES, CONTENT.length + 60), /damaged \(wrong CRC/],
  ["another member", pack(TEXT, { name: "contract.txt" }), /must hold contract.json, found 'contract.txt'/],
  ["two members", pack(TEXT, { entries: 2 }), /exactly one file, contract.json; it lists 2/],
  ["compressed", pack(TEXT, { method: 8 }), /must be stored/],
  ["two sizes", pack(TEXT, { packed: 5 }), /must be stored/],
  ["encrypted", pack(TEXT, { flags: 1 }), /must be stored/],
  ["an offset beyond the end", pack(TEXT, { offset: 2 ** 32 - 1 }), /no file header/],
  ["an offset into the model", pack(TEXT, { offset: 8 }), /no file header/],
  ["a size beyond the end", pack(TEXT, { size: 100_000 }), /beyond the end/],
  ["a size of 2 MiB", pack(TEXT, { size: 2 ** 21 }), /1048576 bytes at most, found 2097152/],
  ["no JSON", pack("{"), /not valid JSON/],
  ["no UTF-8", pack(Uint8Array.of(34, 255, 34)), /not valid JSON/],
  ["NaN", pack('{"format": NaN}'), /not valid JSON/],
  ["digits without end", pack(`{"version": ${"9".repeat(100_000)}}`), /a number of 100000 digits/],
  ["nested", pack("[".repeat(40) + "]".repeat(40)), /more than 32 levels/],
  ["nested without end", pack("[".repeat(100_000)), /not valid JSON/],
  ["another format", changed({ format: "zip" }), /'format' must be 'mmdense-model'/],
  ["a newer version", changed({ version: 3 }), /version 3, this page reads up to 2/],
  ["no version", changed({}, "version"), /'version' must be a positive integer/],
  ["a wrong checksum", changed({ model_sha256: "0".repeat(64) }), /checksum mismatch: the contract says 000000000000/],
])("%s is refused", (_, data, reason) => {
  expect(refusal(data)).toMatch(reason);
});

function flipped(data: Uint8Array, at: number): Uint8Array {
  const copy = data.slice();
  copy[at]! ^= 1;
  return copy;
}

test.each(Object.keys(VALUES).filter((name) => !["format", "version", "scores", "macs_per_second"].includes(name) && !name.startsWith("x_")))(
  "a contract without %s is refused",
  (name) => {
    expect(refusal(changed({}, name))).toBe(`the contract lacks '${name}': export the model again`);
  },
);

test.each<[string, unknown]>([
  ["name", "two\nlines"],
  ["name", ""],
  ["name", 5],
  ["sources", []],
  ["sources", ["../vocals"]],
  ["sources", ["vocals", "Vocals"]],
  ["sources", ["mixture"]],
  ["sample_rate", 999],
  ["sample_rate", "44100"],
  ["sample_rate", true],
  ["bins", 0],
  ["channels", 3],
  ["frames", -8],
  ["context_frames", null],
  ["output", "phase"],
  ["precision", "int3"],
  ["outputs", { vocals: "" }],
  ["outputs", ["vocals"]],
  ["parity", { snr_db: "high" }],
  ["settings", []],
  ["model_sha256", "A".repeat(64)],
  ["licence", "x".repeat(10_001)],
  ["macs_per_second", 0],
  ["scores", { vocals: null }],
])("%s %j is refused with the rule", (name, value) => {
  expect(refusal(changed({ [name]: value }))).toMatch(new RegExp(`^the contract's '${name}' must be .*, found `));
});

test("a contract of version 2 has states: what is read, what is kept, for how many frames", () => {
  const { contract } = loadModel(CAUSAL);
  expect(contract.states).toEqual({ input: "past", output: "present", taps: [[0, 128, 1], [0, 64, 2]], read: 192, kept: 128, frames: 2 });
  expect(loadModel(causal({}, { taps: [[0, 2 ** 23, 2]] })).contract.states!.read).toBe(2 ** 23);
  expect(loadModel(SHARES).contract.states).toBeUndefined();
});

test.each<[string, Uint8Array, RegExp]>([
  ["version 1", causal({ version: 1 }), /'version' must be 2 with 'states', found 1/],
  ["no object", causal({ states: [] }), /'states' must be an object, found \[\]/],
  ["no taps", causal({ states: { input: "past", output: "present" } }), /lacks 'taps'/],
  ["an empty name", causal({}, { input: "" }), /'input' must be one line/],
  ...[[], [[0, 1]], [[0, 1, 1, 1]], [[1, 1, 1]], [[-1, 1, 1]], [[0, 1, 0]], [["0", 1, 1]], [[0, 1.5, 1]], [[0, 2 ** 24 + 1, 1]], Array(4097).fill([0, 1, 1])].map(
    (taps): [string, Uint8Array, RegExp] => [`taps ${JSON.stringify(taps).slice(0, 30)}`, causal({}, { taps }), /'taps' must be a list of 1 to 4096 \[start, stop, delay\]/],
  ),
  ["several frames", causal({ frames: 4 }), /must be 1 and 0 with 'states', found 4 and 0/],
  ["a name twice", causal({}, { output: "mixture" }), /must have names of their own, found "past" and "mixture"/],
  ["too many values in the ring", causal({}, { taps: [[0, 4097, 4096]] }), /16777216 values at most, found 4097 in 4096 frames/],
  ["too many values to read", causal({}, { taps: Array(2).fill([0, 2 ** 24, 1]) }), /33554432 to read/],
])("states with %s are refused", (_, data, reason) => {
  expect(refusal(data)).toMatch(reason);
});

test("2048.0 is no integer, as for the runner", () => {
  const text = JSON.stringify(VALUES).replace(/"frames": ?(\d+)/, '"frames":$1.0');
  expect(refusal(pack(text))).toMatch(/'frames' must be an integer/);
});

test.each<[Values, RegExp]>([
  [{ outputs: { vocals: "vocals" } }, /'outputs' must name each source once/],
  [{ bins: 32769 }, /'bins' may be \d+ at most/],
  [{ context_frames: 4096 }, /'frames' must exceed/],
  [{ frames: 65536, context_frames: 0, frame_multiple: 1, bins: 513 }, /67108864 values at most|'bins' may be/],
])("entries that do not go together are refused: %j", (changes, reason) => {
  expect(refusal(changed(changes))).toMatch(reason);
});

test("the transform's entries have the runner's bounds", () => {
  const transform = (changes: Values) => changed({ transform: { ...(VALUES["transform"] as Values), ...changes } });
  expect(refusal(transform({ n_fft: 15 }))).toMatch(/'n_fft' must be an integer from 16 to 65536, found 15/);
  expect(refusal(transform({ n_fft: 4097, hop_length: 16 }))).toMatch(/'n_fft' must be even/);
  expect(refusal(transform({ hop_length: 60_000 }))).toMatch(/'hop_length' must be an integer/);
  expect(refusal(transform({ window: "hamming" }))).toMatch(/'window' must be one of hann/);
});

test("a name that objects inherit is no entry", () => {
  expect(() => parse(new TextEncoder().encode('{"__proto__": {"format": "mmdense-model"}}'))).toThrow(/'format'/);
});
