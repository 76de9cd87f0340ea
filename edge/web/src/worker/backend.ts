/** Which backend runs the network: measured, where there is a choice. */
import type { Contract } from "../model/contract";
import type { Network } from "../signal/windows";
import type { Engine } from "./engine";

export interface Backend {
  kind: "webgpu" | "threads" | "plain";
  threads: number;
}

// How far the answers of two backends may be apart, as a share of their root mean square.
const MAX_DIFFERENCE = 0.02;

/**
 * Runs one window of noise on both engines and returns the faster one, if it answers alike.
 *
 * The second run of each counts: the first one compiles shaders and fills caches.
 */
export async function fastest(
  wasm: Engine,
  gpu: Engine,
  contract: Contract,
  now: () => number = () => performance.now(),
): Promise<{ chosen: Engine; other: Engine }> {
  const onWasm = { chosen: wasm, other: gpu };
  const input = noise(contract);
  const [onCpu, onGpu] = [wasm.open(), gpu.open()];
  await timed(onCpu, input, now);
  const reference = await timed(onCpu, input, now);
  try {
    await timed(onGpu, input, now);
    const { answers, ms } = await timed(onGpu, input, now);
    const apart = difference(reference.answers, answers);
    const better = apart <= MAX_DIFFERENCE && ms < reference.ms;
    return told(better ? { chosen: gpu, other: wasm } : onWasm, reference.ms, ms, apart);
  } catch (error) {
    console.warn(`WebGPU is not used: ${(error as Error).message}`);
    return onWasm;
  }
}

function told<T>(choice: T, wasmMs: number, gpuMs: number, apart: number): T {
  console.info(
    `a window takes ${wasmMs.toFixed(0)} ms on WebAssembly, ${gpuMs.toFixed(0)} ms on WebGPU; ` +
      `the answers are ${apart.toExponential(1)} apart`,
  );
  return choice;
}

type Answers = Map<string, Float32Array>;

async function timed(
  network: Network,
  input: Float32Array,
  now: () => number,
): Promise<{ answers: Answers; ms: number }> {
  const start = now();
  const answers = await network(input);
  const ms = now() - start;
  return { answers: new Map([...answers].map(([source, values]) => [source, values.slice()])), ms };
}

function noise({ frames, bins, channels }: Contract): Float32Array {
  let state = 1;
  return Float32Array.from({ length: frames * bins * channels }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * 4;
  });
}

/** Root mean square of the difference, as a share of the reference's. */
function difference(reference: Answers, candidate: Answers): number {
  let [error, power] = [0, 1e-30];
  for (const [source, expected] of reference) {
    const found = candidate.get(source)!;
    for (let index = 0; index < expected.length; index++) {
      error += (expected[index]! - found[index]!) ** 2;
      power += expected[index]! ** 2;
    }
  }
  return Math.sqrt(error / power);
}
