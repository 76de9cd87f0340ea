/** Runs a model's network on LiteRT.js, on the fastest backend that this browser has. */
import {
  type CompiledModel,
  type SignatureRunner,
  Tensor,
  getGlobalLiteRt,
  getWebGpuDevice,
  loadAndCompile,
  loadLiteRt,
  supportsFeature,
} from "@litertjs/core";
import { ModelError, PlainError } from "../errors";
import type { Contract, Model } from "../model/contract";
import { Memory, type Network } from "../signal/windows";
import { type Backend, fastest } from "./backend";

const SIGNATURE = "serving_default";
// LiteRT.js 2.5.3 does not run quantized models on WebGPU: it lacks some of their operators there.
const GPU_PRECISIONS = ["float32", "float16"];

// What more threads than a phone has fast cores gain is lost to the slow ones.
const MAX_THREADS = 4;

// The smallest module with a 128-bit instruction.
const SIMD_MODULE = Uint8Array.from(
  [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

/** A model, compiled and tried once. */
export interface Engine {
  backend: Backend;
  /** Returns the network for one signal: one with states starts from silence. */
  open(): Network;
  close(): void;
}

let threads = 0;

/** The runtime's files that were loaded. */
export let runtimeFiles: string[] = [];

/** Loads LiteRT.js, once; `wasm` is the folder of its files. */
async function loadRuntime(wasm: string): Promise<void> {
  if (threads) return;
  if (!WebAssembly.validate(SIMD_MODULE)) {
    throw new PlainError(
      "This browser is too old: it lacks WebAssembly SIMD. Chrome 91, Firefox 89, Safari 16.4 and later have it.",
    );
  }
  const cores = Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1);
  const relaxed = await supportsFeature("relaxedSimd");
  const threaded = cores > 1 && relaxed && self.crossOriginIsolated && (await supportsFeature("threads"));
  const kind = threaded ? "threaded_internal" : relaxed ? "internal" : "compat_internal";
  const script = `${wasm}litert_wasm_${kind}.js`;
  // The runtime finds its files, and the script of its threads, by this global.
  Object.assign(self, {
    Module: { locateFile: (name: string) => wasm + name, mainScriptUrlOrBlob: script },
  });
  await loadLiteRt(wasm, { threads: threaded });
  runtimeFiles = [script, script.replace(/js$/, "wasm")];
  threads = threaded ? cores : 1;
}

/** Compiles a model on the backends that there are and takes the fastest. */
export async function load(model: Model, wasm: string): Promise<Engine> {
  await loadRuntime(wasm);
  const { contract } = model;
  const count = threadsFor(contract);
  const wasmBackend: Backend = { kind: count > 1 ? "threads" : "plain", threads: count };
  const onWasm = engine(contract, await compile(model, "wasm"), wasmBackend);
  const onGpu = getWebGpuDevice() && GPU_PRECISIONS.includes(contract.precision) ? await gpu(model) : null;
  if (!onGpu) return tried(onWasm, contract);
  const { chosen, other } = await fastest(onWasm, onGpu, contract);
  other.close();
  return chosen;
}

/** One frame is too little work to share: waiting for one another costs threads more. */
function threadsFor({ states }: Contract): number {
  return states ? 1 : threads;
}

function engine(contract: Contract, compiled: CompiledModel, backend: Backend): Engine {
  const runner = compiled.signatures[SIGNATURE];
  try {
    if (!runner) throw new ModelError(`the model has no signature ${SIGNATURE}`);
    checkTensors(contract, runner);
  } catch (error) {
    compiled.delete();
    throw error;
  }
  const { states } = contract;
  const shape = [1, contract.frames, contract.bins, contract.channels];
  let outputs: Record<string, Tensor> = {};
  const release = () => {
    for (const tensor of Object.values(outputs)) tensor.delete();
    outputs = {};
  };
  const open = (): Network => {
    const memory = states && new Memory(states);
    return async (magnitude) => {
      release();
      const inputs = { [contract.input]: new Tensor(magnitude, shape) };
      if (memory) inputs[states.input] = new Tensor(memory.past(), [1, states.read]);
      try {
        outputs = await runner.run(inputs);
      } finally {
        for (const tensor of Object.values(inputs)) tensor.delete();
      }
      memory?.keep(await values(outputs[states!.output]!));
      const answers = new Map<string, Float32Array>();
      for (const [source, name] of contract.outputs) answers.set(source, await values(outputs[name]!));
      return answers;
    };
  };
  const close = () => {
    release();
    compiled.delete();
  };
  return { backend, open, close };
}

async function tried(found: Engine, { frames, bins, channels }: Contract): Promise<Engine> {
  try {
    await found.open()(new Float32Array(frames * bins * channels));
  } catch (error) {
    found.close();
    throw error;
  }
  return found;
}

async function compile(model: Model, accelerator: "wasm" | "webgpu"): Promise<CompiledModel> {
  try {
    return await loadAndCompile(model.content, {
      accelerator,
      cpuOptions: { numThreads: threadsFor(model.contract) },
      gpuOptions: { precision: "fp32" },
    });
  } catch (error) {
    throw new ModelError(`the runtime cannot load the model ${model.contract.name}: ${told(error)}`);
  }
}

async function gpu(model: Model): Promise<Engine | null> {
  try {
    const compiled = await compile(model, "webgpu");
    if (compiled.options.accelerator === "webgpu" && compiled.isFullyAccelerated) {
      return engine(model.contract, compiled, { kind: "webgpu", threads: 1 });
    }
    compiled.delete();
  } catch (error) {
    console.warn(`WebGPU is not used: ${told(error)}`);
  }
  return null;
}

function told(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The values of a tensor: where they lie in the runtime's memory, as a copy costs as much as all transforms. */
async function values(tensor: Tensor): Promise<Float32Array> {
  const buffer = tensor.liteRtTensorBuffer;
  if (buffer.isWebGpuMemory()) return (await tensor.data()) as Float32Array;
  const { HEAPU8, LiteRtTensorBufferLockMode } = getGlobalLiteRt().liteRtWasm;
  const start = buffer.lock(LiteRtTensorBufferLockMode.READ);
  buffer.unlock();
  return new Float32Array(HEAPU8.buffer, start, buffer.packedSize() / 4);
}

/** Compares the model's tensors with its contract. */
function checkTensors(contract: Contract, runner: SignatureRunner): void {
  const { states } = contract;
  const shape = [1, contract.frames, contract.bins, contract.channels].join(", ");
  const taken = new Map([[contract.input, shape]]);
  const given = new Map([...contract.outputs.values()].map((name) => [name, shape]));
  if (states) {
    taken.set(states.input, `1, ${states.read}`);
    given.set(states.output, `1, ${states.kept}`);
  }
  for (const [named, tensors] of [[taken, runner.getInputDetails()], [given, runner.getOutputDetails()]] as const) {
    const found = tensors.map(({ name }) => name).sort().join(", ");
    const wanted = [...named.keys()].sort().join(", ");
    if (found !== wanted) throw new ModelError(`the contract names the tensors ${wanted}, the model has ${found}`);
    for (const { name, dtype, shape } of tensors) {
      if (dtype !== "float32" || shape.join(", ") !== named.get(name)) {
        throw new ModelError(
          `tensor ${name} must be float32 (${named.get(name)}), found ${dtype} (${shape.join(", ")})`,
        );
      }
    }
  }
}
