/** The contract that a model file carries: what goes in, what comes out, and under which terms. */
import { sha256 as digest } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { ModelError, shown } from "../errors";
import * as checks from "./checks";
import { split } from "./container";
import { type Entries, isEntries, parseJson } from "./json";

const FORMAT = "mmdense-model";
const VERSION = 2; // a file without states has version 1
const MAX_WINDOW_VALUES = 2 ** 26;

/** Sizes of the short-time Fourier transform, in samples; the window is the periodic Hann window. */
export interface Transform {
  nFft: number;
  hopLength: number;
}

/** What a causal network remembers of past frames. */
export interface States {
  /** Name of the input that gets values of past frames, of shape (1, read). */
  input: string;
  /** Name of the output with the values to keep of a frame, of shape (1, kept). */
  output: string;
  /** The parts of the input in order: values `start` to `stop` of the output `delay` frames before. */
  taps: checks.Tap[];
  read: number;
  kept: number;
  /** Past frames that are remembered. */
  frames: number;
}

/** What a model file says about itself; docs/reference/edge.md has each entry. */
export interface Contract {
  name: string;
  sources: string[];
  sampleRate: number;
  transform: Transform;
  bins: number;
  channels: number;
  frames: number;
  contextFrames: number;
  input: string;
  outputs: Map<string, string>;
  output: "magnitude" | "mask";
  precision: string;
  licence: string;
  parity: Map<string, number>;
  /** Of a network that takes one frame at a time. */
  states?: States;
}

/** A model file, read and checked: its contract and the flatbuffer without the archive. */
export interface Model {
  contract: Contract;
  content: Uint8Array;
}

/** Reads a model file and checks its contract and checksum; throws a ModelError of one line. */
export function loadModel(data: Uint8Array): Model {
  const { content, contract: text } = split(data);
  const { contract, sha256 } = parse(text);
  // crypto.subtle is missing where the page came over plain http from another machine.
  const found = bytesToHex(digest(content));
  if (found !== sha256) {
    throw new ModelError(
      `checksum mismatch: the contract says ${sha256.slice(0, 12)}..., the model has ` +
        `${found.slice(0, 12)}...: copy or export the model again`,
    );
  }
  return { contract, content };
}

/** Parses and checks the text of a contract. */
export function parse(text: Uint8Array): { contract: Contract; sha256: string } {
  const values = parseJson(text);
  if (!isEntries(values) || own(values, "format") !== FORMAT) {
    throw new ModelError(`the contract's 'format' must be '${FORMAT}': not a model of this page`);
  }
  const version = checkVersion(own(values, "version"));
  const read = <T>(name: string, check: checks.Check<T>): T => entry(values, name, check);
  const sha256 = read("model_sha256", checks.sha256);
  const contract: Contract = {
    name: read("name", checks.line(200)),
    sources: read("sources", checks.sources),
    sampleRate: read("sample_rate", checks.integer(1000, 768000)),
    bins: read("bins", checks.integer(1, 32769)),
    channels: read("channels", checks.integer(1, 2)),
    frames: read("frames", checks.integer(1, 65536)),
    contextFrames: read("context_frames", checks.integer(0, 32767)),
    input: read("input", checks.line(256)),
    outputs: read("outputs", checks.names),
    output: read("output", checks.oneOf("magnitude", "mask")),
    precision: read(
      "precision",
      checks.oneOf("float32", "float16", "dynamic", "int8-weights", "int8", "int16x8"),
    ),
    licence: read("licence", checks.text(10000)),
    parity: read("parity", checks.numbers),
    transform: transform(read("transform", checks.mapping)),
  };
  if (Object.hasOwn(values, "states")) contract.states = states(read("states", checks.mapping), version);
  // Not used here, but what the runner refuses is refused here, too.
  read("training_data", checks.text(10000));
  read("settings", checks.mapping);
  if (Object.hasOwn(values, "scores")) read("scores", checks.numbers);
  if (Object.hasOwn(values, "macs_per_second")) read("macs_per_second", checks.positive);
  checkTogether(contract, read("frame_multiple", checks.integer(1, 65536)));
  return { contract, sha256 };
}

/** Bins of a frame, 0 and Nyquist included. */
export function numBins(transform: Transform): number {
  return transform.nFft / 2 + 1;
}

/** How many frames a signal of `numSamples`, 1 or more, has. */
export function numFrames(transform: Transform, numSamples: number): number {
  return 1 + Math.ceil(numSamples / transform.hopLength);
}

/** New frames that one window yields. */
export function stepFrames(contract: Contract): number {
  return contract.frames - 2 * contract.contextFrames;
}

/** Samples from a sample's arrival to its stems, on an infinitely fast machine that takes hops. */
export function latency(contract: Contract): number {
  const { nFft, hopLength } = contract.transform;
  const pad = nFft / 2;
  // A window is complete after `first` samples; it waits for the end of its hop.
  const first = (stepFrames(contract) + contract.contextFrames - 1) * hopLength + pad;
  return Math.ceil(first / hopLength) * hopLength + Math.max(pad, 2 * hopLength);
}

function own(values: Entries, name: string): unknown {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

function checkVersion(version: unknown): number {
  if (typeof version !== "number" || version < 1) {
    throw new ModelError(`the contract's 'version' must be a positive integer, found ${shown(version)}`);
  }
  if (version > VERSION) {
    throw new ModelError(
      `the contract has version ${version}, this page reads up to ${VERSION}: export the model without --states`,
    );
  }
  return version;
}

function entry<T>(values: Entries, name: string, check: checks.Check<T>): T {
  if (!Object.hasOwn(values, name)) {
    throw new ModelError(`the contract lacks '${name}': export the model again`);
  }
  try {
    return check(values[name]);
  } catch (error) {
    if (!(error instanceof checks.Rule)) throw error;
    throw new ModelError(
      `the contract's '${name}' must be ${error.message}, found ${shown(values[name])}`,
    );
  }
}

function transform(values: Entries): Transform {
  const nFft = entry(values, "n_fft", checks.integer(16, 65536));
  const hopLength = entry(values, "hop_length", checks.integer(1, Math.floor(nFft / 2)));
  if (nFft % 2) throw new ModelError(`the contract's 'n_fft' must be even, found ${nFft}`);
  entry(values, "window", checks.oneOf("hann"));
  return { nFft, hopLength };
}

function states(values: Entries, version: number): States {
  if (version < VERSION) {
    throw new ModelError(`the contract's 'version' must be 2 with 'states', found ${version}`);
  }
  const taps = entry(values, "taps", checks.taps);
  return {
    input: entry(values, "input", checks.line(256)),
    output: entry(values, "output", checks.line(256)),
    taps,
    read: taps.reduce((sum, [start, stop]) => sum + stop - start, 0),
    kept: Math.max(...taps.map(([, stop]) => stop)),
    frames: Math.max(...taps.map(([, , delay]) => delay)),
  };
}

/** Checks the rules that tie entries to one another. */
function checkTogether(contract: Contract, multiple: number): void {
  const { frames, contextFrames, bins, channels, sources, outputs } = contract;
  const named = sources.filter((source) => outputs.has(source)).length;
  if (named !== sources.length || outputs.size !== sources.length) {
    throw new ModelError(
      `the contract's 'outputs' must name each source once: sources ${shown(sources)}, ` +
        `outputs ${shown([...outputs.keys()])}`,
    );
  }
  const most = numBins(contract.transform);
  if (bins > most) {
    throw new ModelError(
      `the contract's 'bins' may be ${most} at most for n_fft ${contract.transform.nFft}, found ${bins}`,
    );
  }
  if (frames % multiple || contextFrames % multiple || stepFrames(contract) < 1) {
    throw new ModelError(
      "the contract's 'frames' must exceed 2 * 'context_frames', both multiples of " +
        `'frame_multiple', found ${frames}, ${contextFrames}, ${multiple}`,
    );
  }
  if (frames * bins * channels > MAX_WINDOW_VALUES) {
    throw new ModelError(
      `a window may have ${MAX_WINDOW_VALUES} values at most, found ${frames} frames x ${bins} bins ` +
        `x ${channels} channels`,
    );
  }
  const { input, states } = contract;
  if (!states) return;
  if (frames !== 1 || contextFrames !== 0) {
    throw new ModelError(
      `the contract's 'frames' and 'context_frames' must be 1 and 0 with 'states', found ${frames} and ${contextFrames}`,
    );
  }
  if (new Set([input, states.input, states.output]).size < 3) {
    throw new ModelError(
      `the contract's 'states' must have names of their own, found ${shown(states.input)} and ${shown(states.output)}`,
    );
  }
  if (Math.max(states.kept * states.frames, states.read) > checks.MAX_PAST_VALUES) {
    throw new ModelError(
      `the contract's 'states' may have ${checks.MAX_PAST_VALUES} values at most, found ${states.kept} in ` +
        `${states.frames} frames, ${states.read} to read`,
    );
  }
}
