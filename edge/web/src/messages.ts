/** What the page and its worker say to each other. */
import type { Backend } from "./worker/backend";

export interface LoadRequest {
  kind: "load";
  /** The model file, whole. */
  model: Uint8Array;
  /** URL of the folder with LiteRT's files. */
  wasm: string;
}

export interface SeparateRequest {
  kind: "separate";
  job: number;
  /** The song, one array per channel: the worker keeps it. */
  channels: Float32Array[];
}

/** How the audio thread plays a live run, in samples. */
export interface LineOptions {
  /** From the input to the output. */
  latency: number;
  /** Length of the blocks that go to the worker. */
  hopLength: number;
}

export interface LiveRequest {
  kind: "live";
  job: number;
  /** Gives stereo blocks of the mixture, takes pieces of the stems. */
  port: MessagePort;
  latency: number;
}

export interface CancelRequest {
  kind: "cancel";
  job: number;
}

export type ToWorker = LoadRequest | SeparateRequest | LiveRequest | CancelRequest;

/** What the page needs to know of a loaded model. */
export interface Loaded {
  kind: "loaded";
  backend: Backend;
  /** URLs of the runtime's files in use. */
  files: string[];
  name: string;
  licence: string;
  precision: string;
  sources: string[];
  sampleRate: number;
  line: LineOptions;
  /** Whether the network takes one frame at a time. */
  isCausal: boolean;
}

/** The next samples of each stem, as 16-bit PCM. */
export interface Segment {
  kind: "segment";
  job: number;
  numSamples: number;
  stems: StemSegment[];
}

/** Samples that one pair of peaks stands for. */
export const PEAK_SAMPLES = 1024;

export interface StemSegment {
  source: string;
  /** Interleaved 16-bit samples, little-endian. */
  pcm: Blob;
  /** Lowest and highest sample of each `PEAK_SAMPLES`, -1 to 1. */
  peaks: Float32Array;
  clipped: number;
}

export interface Done {
  kind: "done";
  job: number;
  /** CRC-32 of each stem's samples, for the ZIP file. */
  crcs: Record<string, number>;
  seconds: number;
}

export interface Failed {
  kind: "failed";
  job: number | null;
  cancelled: boolean;
  message: string;
}

export type FromWorker = Loaded | Segment | Done | Failed;
