declare module "@echogarden/pffft-wasm/simd" {
  /** PFFFT, compiled to WebAssembly: addresses are of bytes in its memory. */
  export interface Pffft {
    HEAPF32: Float32Array;
    _pffft_aligned_malloc(bytes: number): number;
    /** A real transform has `kind` 0. */
    _pffft_new_setup(size: number, kind: 0 | 1): number;
    /** Forward is 0, the inverse 1: it multiplies by the size. */
    _pffft_transform_ordered(setup: number, from: number, to: number, work: number, direction: 0 | 1): void;
  }
  export default function load(): Promise<Pffft>;
}
