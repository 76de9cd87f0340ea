/** Which of two engines is taken: their answers and times are made up, the clock is theirs. */
import { afterEach, expect, test, vi } from "vitest";
import type { Contract } from "../src/model/contract";
import { fastest } from "../src/worker/backend";
import type { Engine } from "../src/worker/engine";

const CONTRACT = { frames: 4, bins: 3, channels: 2 } as Contract;
let clock = 0;

afterEach(() => vi.restoreAllMocks());

/** An engine whose runs take `times`, one after the other; it answers with its input times `gain`. */
function fake(kind: "plain" | "webgpu", times: number[], gain: number): Engine {
  const network = async (input: Float32Array) => {
    clock += times.shift()!;
    return new Map([["vocals", input.map((value) => gain * value)]]);
  };
  return { backend: { kind, threads: 1 }, open: () => network, close: () => undefined };
}

async function taken(wasm: Engine, gpu: Engine) {
  const said = vi.spyOn(console, "info").mockReturnValue();
  const { chosen, other } = await fastest(wasm, gpu, CONTRACT, () => clock);
  expect(new Set([chosen, other])).toEqual(new Set([wasm, gpu]));
  return { kind: chosen.backend.kind, said: said.mock.calls.join() };
}

test.each([
  [40, 10, "webgpu"],
  [10, 40, "plain"],
  [20, 20, "plain"],
])("%i ms against %i: %s, however long the first runs took", async (wasmMs, gpuMs, expected) => {
  const { kind, said } = await taken(fake("plain", [900, wasmMs], 1), fake("webgpu", [60_000, gpuMs], 1));
  expect(kind).toBe(expected);
  expect(said).toContain(`${wasmMs} ms on WebAssembly, ${gpuMs} ms on WebGPU; the answers are 0.0e+0 apart`);
});

test.each([
  [1.019, "webgpu"],
  [1.021, "plain"],
  [NaN, "plain"],
])("a faster GPU whose answers are %f times the others: %s", async (gain, expected) => {
  const { kind } = await taken(fake("plain", [9, 40], 1), fake("webgpu", [9, 10], gain));
  expect(kind).toBe(expected);
});

test("a GPU that fails is not taken, and the console says why", async () => {
  const warned = vi.spyOn(console, "warn").mockReturnValue();
  const lost = { ...fake("webgpu", [], 1), open: () => () => Promise.reject(new Error("device lost")) };
  expect((await taken(fake("plain", [9, 40], 1), lost)).kind).toBe("plain");
  expect(warned.mock.calls.join()).toBe("WebGPU is not used: device lost");
});
