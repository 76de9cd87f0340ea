/** The short-time Fourier transform and its inverse, equal to the runner's. */
import load from "@echogarden/pffft-wasm/simd";
import { PlainError } from "../errors";
import type { Transform } from "../model/contract";

/** One Float32Array of equal length per channel. */
export type Channels = Float32Array[];

/** The periodic Hann window. */
export function hann(nFft: number): Float32Array {
  return Float32Array.from(
    { length: nFft },
    (_, index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / nFft),
  );
}

/**
 * Returns samples `start` to `start + length` of a signal with both ends reflected by `pad` samples
 * (the edge sample not repeated, again and again for short signals) and zeros beyond. Sample 0 is
 * the signal's first; `start` may be negative.
 */
export function padded(signal: Float32Array, start: number, length: number, pad: number): Float32Array {
  const out = new Float32Array(length);
  const inside = (index: number) => Math.min(length, Math.max(0, index - start));
  const [first, last] = [inside(0), inside(signal.length)];
  out.set(signal.subarray(start + first, start + last), first);
  const period = 2 * (signal.length - 1) || 1;
  const reflect = (from: number, to: number) => {
    for (let index = from; index < to; index++) {
      const turn = (((start + index) % period) + period) % period;
      out[index] = signal[turn < signal.length ? turn : period - turn]!;
    }
  };
  reflect(inside(-pad), first);
  reflect(last, inside(signal.length + pad));
  return out;
}

/** Forward and inverse transform of one frame, both in PFFFT's memory. */
export class Frames {
  private constructor(
    readonly transform: Transform,
    readonly window: Float32Array,
    /** The frame's samples. */
    readonly samples: Float32Array,
    /** Its n_fft / 2 + 1 bins, real and imaginary part in turn; the last one's real part is at 1. */
    readonly spectrum: Float32Array,
    /** Transforms `samples` into `spectrum`. */
    readonly forward: () => void,
    /** Transforms `spectrum` into `samples` times n_fft. */
    readonly inverse: () => void,
  ) {}

  static async open(transform: Transform): Promise<Frames> {
    const { nFft } = transform;
    let factor = nFft / 32;
    for (const prime of [2, 3, 5]) while (factor % prime === 0) factor /= prime;
    if (factor !== 1) {
      throw new PlainError(`this page needs an n_fft of 32 times powers of 2, 3 and 5, the model has ${nFft}`);
    }
    const library = await load();
    const [time, bins, work] = [0, 0, 0].map(() => library._pffft_aligned_malloc(4 * nFft)) as [number, number, number];
    const setup = library._pffft_new_setup(nFft, 0);
    const view = (address: number) => library.HEAPF32.subarray(address / 4, address / 4 + nFft);
    return new Frames(
      transform,
      hann(nFft),
      view(time),
      view(bins),
      () => library._pffft_transform_ordered(setup, time, bins, work, 0),
      () => library._pffft_transform_ordered(setup, bins, time, work, 1),
    );
  }

  /** Samples that `count` frames span. */
  span(count: number): number {
    return (count - 1) * this.transform.hopLength + this.transform.nFft;
  }

  /** Transforms the frame of a signal that begins at `start`. */
  analyse(signal: Float32Array, start: number): void {
    const { samples, window } = this;
    for (let at = 0; at < window.length; at++) samples[at] = signal[start + at]! * window[at]!;
    this.forward();
  }

  /** Writes the magnitudes of the lowest bins to every `stride`th place of `out`. */
  magnitudes(bins: number, out: Float32Array, first: number, stride: number): void {
    const { spectrum } = this;
    const half = spectrum.length / 2;
    out[first] = Math.abs(spectrum[0]!);
    if (bins > half) out[first + half * stride] = Math.abs(spectrum[1]!);
    for (let bin = 1, at = first + stride; bin < Math.min(bins, half); bin++, at += stride) {
      const re = spectrum[2 * bin]!;
      const im = spectrum[2 * bin + 1]!;
      out[at] = Math.sqrt(re * re + im * im);
    }
  }
}

/** Overlap-add of inverted frames of several signals, divided by the overlap-added squared window. */
export class Synthesis {
  private readonly sums: Float32Array[];
  private readonly weight: Float32Array;
  /** The window, and what undoes the inverse transform's factor. */
  private readonly scaled: Float32Array;
  /** Of the buffers' start, in the padded signal. */
  private position = 0;
  private frames = 0;

  /** For blocks of at most `most` frames between `take`s. */
  constructor(
    private readonly inverse: Frames,
    signals: number,
    most: number,
  ) {
    const { nFft } = inverse.transform;
    const length = inverse.span(most) + 2 * nFft;
    this.sums = Array.from({ length: signals }, () => new Float32Array(length));
    this.weight = new Float32Array(length);
    this.scaled = inverse.window.map((value) => value / nFft);
  }

  private get start(): number {
    return this.frames * this.inverse.transform.hopLength - this.position;
  }

  /** Inverts the frame's spectrum and adds it to a signal. */
  add(signal: number): void {
    const { samples } = this.inverse;
    const { scaled, start } = this;
    const sum = this.sums[signal]!;
    this.inverse.inverse();
    for (let at = 0; at < scaled.length; at++) sum[start + at]! += samples[at]! * scaled[at]!;
  }

  /** Goes on to the next frame, of all signals. */
  next(): void {
    const { weight, start } = this;
    const { window } = this.inverse;
    for (let at = 0; at < window.length; at++) weight[start + at]! += window[at]! * window[at]!;
    this.frames++;
  }

  /** Returns the samples that are final; after the last frame those to the signals' end, `numSamples`. */
  take(numSamples: number | null): Channels {
    const { hopLength, nFft } = this.inverse.transform;
    const pad = nFft / 2;
    // The end may be one sample after the last frame's predecessor: so far a signal surely goes.
    const known = Math.min(this.frames * hopLength, pad + (this.frames - 2) * hopLength);
    const end = numSamples === null ? known : pad + numSamples;
    const first = Math.max(this.position, pad);
    if (end <= first) return this.sums.map(() => new Float32Array(0));
    const [from, to] = [first - this.position, end - this.position];
    const { weight } = this;
    const out = this.sums.map((sum) => {
      const part = sum.slice(from, to);
      for (let at = 0; at < part.length; at++) part[at]! /= weight[from + at]!;
      return part;
    });
    for (const buffer of [...this.sums, this.weight]) {
      buffer.copyWithin(0, to);
      buffer.fill(0, buffer.length - to);
    }
    this.position = end;
    return out;
  }
}
