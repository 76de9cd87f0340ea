/** The worker: loads a model, separates songs, keeps the audio off the page's own thread. */
import { Cancelled, PlainError } from "../errors";
import type { FromWorker, LiveRequest, LoadRequest, SeparateRequest, ToWorker } from "../messages";
import { type Contract, loadModel } from "../model/contract";
import { Frames } from "../signal/transform";
import { type Engine, load, runtimeFiles } from "./engine";
import { separate } from "./job";
import { lineOf, live } from "./live";
import { type Storage, openStorage } from "./storage";

let ready: { contract: Contract; engine: Engine; frames: Frames } | null = null;
let storage: Storage | null = null;
let current = { job: 0, abort: new AbortController() };

function post(message: FromWorker): void {
  self.postMessage(message);
}

async function onLoad(request: LoadRequest): Promise<void> {
  const model = loadModel(request.model);
  const { contract } = model;
  const frames = await Frames.open(contract.transform);
  const engine = await load(model, request.wasm);
  ready?.engine.close();
  ready = { contract, engine, frames };
  const { name, licence, precision, sources, sampleRate } = contract;
  post({
    kind: "loaded",
    backend: ready.engine.backend,
    files: runtimeFiles,
    name,
    licence,
    precision,
    sources,
    sampleRate,
    line: lineOf(contract),
    isCausal: contract.states !== undefined,
  });
}

/** Makes a job the one that can be cancelled, in place of the one before. */
function begin(job: number): AbortSignal {
  current.abort.abort();
  current = { job, abort: new AbortController() };
  return current.abort.signal;
}

async function onSeparate({ job, channels }: SeparateRequest): Promise<void> {
  if (!ready) throw new PlainError("no model is loaded");
  const cancelled = begin(job);
  const before = storage;
  storage = null;
  await before?.clear();
  storage = await openStorage();
  const { contract, engine, frames } = ready;
  const start = performance.now();
  const crcs = await separate(
    channels,
    contract,
    engine.open,
    frames,
    storage,
    cancelled,
    (segment) => post({ kind: "segment", job, ...segment }),
  );
  post({ kind: "done", job, crcs, seconds: (performance.now() - start) / 1000 });
}

async function onLive({ job, port, latency }: LiveRequest): Promise<void> {
  if (!ready) throw new PlainError("no model is loaded");
  const { contract, engine, frames } = ready;
  await live(port, contract, engine.open, frames, latency, begin(job));
}

function fail(error: unknown, job: number | null): void {
  const known = error instanceof PlainError;
  if (!known) console.error(error);
  const message = known ? error.message : plain(error);
  post({ kind: "failed", job, cancelled: error instanceof Cancelled, message });
}

function plain(error: unknown): string {
  const { name, message } = error instanceof Error ? error : { name: "", message: String(error) };
  if (name === "QuotaExceededError") {
    return "The device has no room left for the stems. Make room, or take a shorter song.";
  }
  if (name === "RangeError" || /out of memory|memory access|allocation/i.test(message)) {
    return "The device ran out of memory. Close other pages, or take a shorter song or a smaller model.";
  }
  return `Something went wrong: ${message}`;
}

self.onmessage = async ({ data }: MessageEvent<ToWorker>) => {
  const job = "job" in data ? data.job : null;
  try {
    if (data.kind === "load") await onLoad(data);
    else if (data.kind === "separate") await onSeparate(data);
    else if (data.kind === "live") await onLive(data);
    else if (data.job === current.job) current.abort.abort();
  } catch (error) {
    fail(error, job);
  }
};
