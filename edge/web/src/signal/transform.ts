/**
 * The short-time Fourier transform and its inverse, equal to the runner's.
 *
 * Signals here have one or two channels. Two real channels go through one complex transform, as its
 * real and imaginary part. Spectra are stored (frames, bins, channels), real and imaginary apart.
 */
import FFT from "fft.js";
import { PlainError } from "../errors";
import type { Transform } from "../model/contract";

/** One Float32Array of equal length per channel. */
export type Channels = Float32Array[];

/** Spectra of `frames` frames, each part of shape (frames, n_fft / 2 + 1, channels). */
export class Spectra {
  readonly re: Float32Array;
  readonly im: Float32Array;

  constructor(
    readonly frames: number,
    readonly bins: number,
    readonly channels: number,
  ) {
    this.re = new Float32Array(frames * bins * channels);
    this.im = new Float32Array(frames * bins * channels);
  }

  /** Whether both channels of a frame are equal. */
  areEqual(frame: number): boolean {
    if (this.channels !== 2) return false;
    const { re, im } = this;
    const stop = (frame + 1) * this.bins * 2;
    for (let at = frame * this.bins * 2; at < stop; at += 2) {
      if (re[at] !== re[at + 1] || im[at] !== im[at + 1]) return false;
    }
    return true;
  }

  /** Drops the first `count` frames: the others move to the front, the end stays as it is. */
  drop(count: number): void {
    const values = count * this.bins * this.channels;
    this.re.copyWithin(0, values);
    this.im.copyWithin(0, values);
  }

  /** Sets frames from `first` on to silence. */
  silence(first: number): void {
    const values = first * this.bins * this.channels;
    this.re.fill(0, values);
    this.im.fill(0, values);
  }
}

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
  const [first, last] = [Math.max(0, -start), Math.min(length, signal.length - start)];
  if (last > first) out.set(signal.subarray(start + first, start + last), first);
  const period = 2 * (signal.length - 1) || 1;
  for (let index = 0; index < length; index++) {
    const at = start + index;
    if (at >= 0 && at < signal.length) continue;
    if (at < -pad || at >= signal.length + pad) continue;
    const turn = ((at % period) + period) % period;
    out[index] = signal[turn < signal.length ? turn : period - turn]!;
  }
  return out;
}

/** Forward and inverse transform of frames. */
export class Frames {
  readonly window: Float32Array;
  private readonly fft: FFT;
  private readonly time: Float64Array;
  private readonly spectrum: Float64Array;

  constructor(readonly transform: Transform) {
    const { nFft } = transform;
    if (nFft & (nFft - 1)) {
      throw new PlainError(`this page needs an n_fft that is a power of two, the model has ${nFft}`);
    }
    this.window = hann(nFft);
    this.fft = new FFT(nFft);
    this.time = new Float64Array(2 * nFft);
    this.spectrum = new Float64Array(2 * nFft);
  }

  /** Samples that `count` frames span. */
  span(count: number): number {
    return (count - 1) * this.transform.hopLength + this.transform.nFft;
  }

  /** Analyses as many frames as `signal` holds whole, into `out` from its frame `first` on. */
  analyse(signal: Channels, out: Spectra, first: number): number {
    const { nFft, hopLength } = this.transform;
    const count = Math.floor((signal[0]!.length - nFft) / hopLength) + 1;
    for (let frame = 0; frame < count; frame++) {
      const equal = this.load(signal, frame * hopLength);
      this.fft.transform(this.spectrum, this.time);
      this.store(out, first + frame, equal);
    }
    return count;
  }

  /** Returns whether the frame's two channels are equal. */
  private load(signal: Channels, start: number): boolean {
    const { window, time } = this;
    const [left, right] = [signal[0]!, signal[1]];
    let equal = right !== undefined;
    for (let index = 0; index < window.length; index++) {
      time[2 * index] = left[start + index]! * window[index]!;
      time[2 * index + 1] = right ? right[start + index]! * window[index]! : 0;
      equal &&= left[start + index] === right![start + index];
    }
    return equal;
  }

  /** Takes the spectra of the two channels apart; those of equal channels do not differ by rounding. */
  private store(out: Spectra, frame: number, equal: boolean): void {
    const z = this.spectrum;
    const size = this.transform.nFft;
    let at = frame * out.bins * out.channels;
    for (let bin = 0; bin < out.bins; bin++) {
      const [k, mirror] = [2 * bin, 2 * ((size - bin) % size)];
      const [re, im, mirrorRe, mirrorIm] = [z[k]!, z[k + 1]!, z[mirror]!, z[mirror + 1]!];
      out.re[at] = (re + mirrorRe) / 2;
      out.im[at++] = (im - mirrorIm) / 2;
      if (out.channels === 2) {
        out.re[at] = equal ? out.re[at - 1]! : (im + mirrorIm) / 2;
        out.im[at] = equal ? out.im[at - 1]! : (mirrorRe - re) / 2;
        at++;
      }
    }
  }

  /**
   * Inverts one frame of `spectra` times `gain`, an array of the shape of a frame.
   *
   * Returns the frame's samples, real and imaginary part the two channels: valid until the next call.
   */
  invert(spectra: Spectra, frame: number, gain: Float32Array): Float64Array {
    const z = this.spectrum;
    const size = this.transform.nFft;
    const { bins, channels, re, im } = spectra;
    const stereo = channels === 2;
    const offset = frame * bins * channels;
    for (let bin = 0; bin < bins; bin++) {
      const at = bin * channels;
      const [a, b] = [re[offset + at]! * gain[at]!, im[offset + at]! * gain[at]!];
      const c = stereo ? re[offset + at + 1]! * gain[at + 1]! : 0;
      const d = stereo ? im[offset + at + 1]! * gain[at + 1]! : 0;
      // Bins 0 and Nyquist are their own mirror: of them the real part counts.
      const edge = bin === 0 || bin === bins - 1;
      z[2 * bin] = edge ? a : a - d;
      z[2 * bin + 1] = edge ? c : b + c;
      if (!edge) {
        z[2 * (size - bin)] = a + d;
        z[2 * (size - bin) + 1] = c - b;
      }
    }
    this.fft.inverseTransform(this.time, z);
    return this.time;
  }
}

/** Overlap-add of inverted frames, divided by the overlap-added squared window. */
export class Synthesis {
  private readonly sum: Float32Array[];
  private readonly weight: Float32Array;
  /** Of the buffers' start, in the padded signal. */
  private position = 0;
  private frames = 0;
  private readonly square: Float32Array;

  /** For a signal of `numSamples` samples and blocks of at most `most` frames between `take`s. */
  constructor(
    private readonly inverse: Frames,
    private readonly channels: number,
    private readonly numSamples: number,
    most: number,
  ) {
    const length = inverse.span(most) + 2 * inverse.transform.nFft;
    this.sum = Array.from({ length: channels }, () => new Float32Array(length));
    this.weight = new Float32Array(length);
    this.square = inverse.window.map((value) => value * value);
  }

  /** Adds the next frame, as `Frames.invert` returns it. */
  add(frame: Float64Array): void {
    const { window } = this.inverse;
    const start = this.frames * this.inverse.transform.hopLength - this.position;
    for (let channel = 0; channel < this.channels; channel++) {
      const sum = this.sum[channel]!;
      for (let index = 0; index < window.length; index++) {
        sum[start + index]! += frame[2 * index + channel]! * window[index]!;
      }
    }
    for (let index = 0; index < window.length; index++) {
      this.weight[start + index]! += this.square[index]!;
    }
    this.frames++;
  }

  /** Returns the samples that are final; after the last frame those to the signal's end. */
  take(last: boolean): Channels {
    const { hopLength, nFft } = this.inverse.transform;
    const pad = nFft / 2;
    // The end may be one sample after the last frame's predecessor: so far a signal surely goes.
    const known = Math.min(this.frames * hopLength, pad + (this.frames - 2) * hopLength);
    const end = last ? pad + this.numSamples : known;
    const first = Math.max(this.position, pad);
    if (end <= first) return this.sum.map(() => new Float32Array(0));
    const [from, to] = [first - this.position, end - this.position];
    const out = this.sum.map((sum) => {
      const part = sum.slice(from, to);
      for (let index = 0; index < part.length; index++) part[index]! /= this.weight[from + index]!;
      return part;
    });
    for (const buffer of [...this.sum, this.weight]) {
      buffer.copyWithin(0, to);
      buffer.fill(0, buffer.length - to);
    }
    this.position = end;
    return out;
  }
}
