/** From a signal to its sources, window by window. */
import { ModelError } from "../errors";
import { type Contract, numBins, numFrames, stepFrames } from "../model/contract";
import { type Channels, type Frames, Synthesis, padded } from "./transform";

/**
 * Estimates the sources in one window: a magnitude of shape (frames, bins, channels) in, for each
 * source an array of that shape out, by the contract a mask or a magnitude, valid until the next call.
 */
export type Network = (magnitude: Float32Array) => Promise<Map<string, Float32Array>>;

/**
 * Separates one signal of one or two channels, in memory that does not depend on its length.
 *
 * A window has `frames` frames; `context_frames` on each side are seen and thrown away. Before the
 * first frame and after the last the network sees silence. A mono signal goes into a stereo network
 * twice and its estimates are averaged; a stereo one goes through a mono network by channel. Frames
 * whose two channels are equal get equal estimates, the average.
 */
export class Separation {
  readonly windows: number;
  private readonly total: number;
  private readonly step: number;
  /** Channels of the magnitude. */
  private readonly width: number;
  /** What the network sees: shape (frames, bins, width). */
  private readonly magnitude: Float32Array;
  /** The mixture from the first new frame on: shape (frames - context_frames, channels, n_fft). */
  private readonly spectra: Float32Array;
  private readonly synthesis: Synthesis;
  /** A source's share of each bin of a frame. */
  private readonly gain: Float32Array;
  private analysed = 0;
  private done = 0;

  constructor(
    private readonly contract: Contract,
    private readonly network: Network,
    private readonly frames: Frames,
    private readonly signal: Channels,
  ) {
    const { transform, sources, contextFrames, channels, bins } = contract;
    const numSamples = signal[0]!.length;
    this.total = numFrames(transform, numSamples);
    this.step = stepFrames(contract);
    this.windows = Math.ceil(this.total / this.step);
    this.width = Math.max(channels, signal.length);
    this.magnitude = new Float32Array(contract.frames * bins * this.width);
    this.spectra = new Float32Array((contract.frames - contextFrames) * signal.length * transform.nFft);
    this.synthesis = new Synthesis(frames, sources.length * signal.length, numSamples, this.step);
    this.gain = new Float32Array(numBins(transform));
  }

  /** Runs the next window and returns each source's next samples. */
  async next(): Promise<Map<string, Channels>> {
    this.fill();
    const { sources, bins, transform } = this.contract;
    const estimates = await this.estimate();
    const keep = Math.min(this.step, this.total - this.done);
    for (let frame = 0; frame < keep; frame++) {
      const equal = this.areEqual(frame);
      sources.forEach((source, at) => {
        const first = at * this.signal.length;
        this.signal.forEach((_, channel) => {
          this.apply(frame, channel, equal, source, estimates.get(source)!);
          this.synthesis.add(first + channel);
        });
      });
      this.synthesis.next();
    }
    this.done += keep;
    this.spectra.copyWithin(0, this.step * this.signal.length * transform.nFft);
    this.magnitude.copyWithin(0, this.step * bins * this.width);
    const samples = this.synthesis.take(this.done === this.total);
    return new Map(sources.map((source) => [source, samples.splice(0, this.signal.length)]));
  }

  /** Analyses the frames that the window lacks. */
  private fill(): void {
    const { frames, bins, contextFrames, transform } = this.contract;
    const { magnitude, spectra, signal, width } = this;
    const { nFft, hopLength } = transform;
    const old = this.analysed - this.done;
    const count = Math.min(frames - contextFrames - old, this.total - this.analysed);
    magnitude.fill(0, (contextFrames + old) * bins * width);
    if (count <= 0) return;
    const start = this.analysed * hopLength - nFft / 2;
    signal.forEach((samples, channel) => {
      const part = padded(samples, start, this.frames.span(count), nFft / 2);
      for (let frame = 0; frame < count; frame++) {
        this.frames.analyse(part, frame * hopLength);
        spectra.set(this.frames.spectrum, ((old + frame) * signal.length + channel) * nFft);
        const row = (contextFrames + old + frame) * bins * width;
        for (let copy = channel; copy < width; copy += signal.length) {
          this.frames.magnitudes(bins, magnitude, row + copy, width);
        }
      }
    });
    this.analysed += count;
  }

  /** Runs the network on groups of as many channels as it takes. */
  private async estimate(): Promise<Map<string, Float32Array>> {
    const { magnitude, width } = this;
    const { sources, channels } = this.contract;
    if (channels === width) return this.network(magnitude);
    const joined = new Map(sources.map((source) => [source, new Float32Array(magnitude.length)]));
    for (let channel = 0; channel < width; channel++) {
      const one = magnitude.filter((_, at) => at % width === channel);
      for (const [source, answer] of await this.network(one)) {
        const out = joined.get(source)!;
        answer.forEach((value, at) => (out[at * width + channel] = value));
      }
    }
    return joined;
  }

  /** Whether a new frame's two channels are equal: a stereo network would tell them apart by their places. */
  private areEqual(frame: number): boolean {
    if (this.signal.length < 2) return false;
    const { nFft } = this.contract.transform;
    const left = 2 * frame * nFft;
    for (let at = left; at < left + nFft; at++) {
      if (this.spectra[at] !== this.spectra[at + nFft]) return false;
    }
    return true;
  }

  /** Sets the frame's spectrum to a source's share of the mixture's. */
  private apply(frame: number, channel: number, equal: boolean, source: string, estimate: Float32Array): void {
    const { bins, contextFrames, name, output, transform } = this.contract;
    const { gain, magnitude, spectra, width } = this;
    const { spectrum } = this.frames;
    const isMask = output === "mask";
    // Of two places the average counts; where the channels stay apart they are the same.
    const [one, two] = equal || this.signal.length < width ? [0, 1] : [channel, channel];
    const first = (contextFrames + frame) * bins * width;
    let a = 0;
    let b = 0;
    let sum = 0;
    for (let bin = 0, at = first; bin < bins; bin++, at += width) {
      a = estimate[at + one]!;
      b = estimate[at + two]!;
      if (!isMask) {
        a = magnitude[at + one]! > 0 ? a / magnitude[at + one]! : 0;
        b = magnitude[at + two]! > 0 ? b / magnitude[at + two]! : 0;
      }
      gain[bin] = (a + b) / 2;
      sum += a + b;
    }
    // A sum is finite only where all its terms are; masks and magnitudes cannot cancel out to it.
    if (!Number.isFinite(sum)) {
      throw new ModelError(`the model ${name} answered with NaN or infinity for ${source}: use another model`);
    }
    // Bins that the network does not see take the mask of the last one that it sees.
    gain.fill((clip(a) + clip(b)) / 2, bins);
    const half = transform.nFft / 2;
    const from = 2 * half * (frame * this.signal.length + channel);
    for (let bin = 1; bin < half; bin++) {
      spectrum[2 * bin] = spectra[from + 2 * bin]! * gain[bin]!;
      spectrum[2 * bin + 1] = spectra[from + 2 * bin + 1]! * gain[bin]!;
    }
    spectrum[0] = spectra[from]! * gain[0]!;
    spectrum[1] = spectra[from + 1]! * gain[half]!;
  }
}

function clip(mask: number): number {
  return Math.min(1, Math.max(0, mask));
}
