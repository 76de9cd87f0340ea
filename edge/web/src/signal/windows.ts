/** From a signal to its sources, window by window. */
import {
  type Contract,
  numBins,
  numFrames,
  stepFrames,
} from "../model/contract";
import { type Channels, Frames, Spectra, Synthesis } from "./transform";

/**
 * Estimates the sources in one window: a magnitude of shape (frames, bins, channels) in, for each
 * source an array of that shape out, by the contract a mask or a magnitude.
 */
export type Network = (magnitude: Float32Array) => Promise<Map<string, Float32Array>>;

/** Returns samples `start` to `start + length` of the reflected signal, one array per channel. */
export type Read = (start: number, length: number) => Promise<Channels>;

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
  private readonly frames: Frames;
  private readonly spectra: Spectra;
  private readonly synthesis: Map<string, Synthesis>;
  private readonly gain: Float32Array;
  private analysed = 0;
  private done = 0;

  constructor(
    private readonly contract: Contract,
    private readonly network: Network,
    private readonly read: Read,
    private readonly channels: number,
    numSamples: number,
  ) {
    this.total = numFrames(contract.transform, numSamples);
    this.step = stepFrames(contract);
    this.windows = Math.ceil(this.total / this.step);
    this.frames = new Frames(contract.transform);
    const bins = numBins(contract.transform);
    this.spectra = new Spectra(contract.frames, bins, channels);
    this.gain = new Float32Array(bins * channels);
    this.synthesis = new Map(
      contract.sources.map((source) => [
        source,
        new Synthesis(this.frames, channels, numSamples, this.step),
      ]),
    );
  }

  /** Runs the next window and returns each source's next samples. */
  async next(): Promise<Map<string, Channels>> {
    await this.fill();
    const { frames, bins, contextFrames, channels } = this.contract;
    const copies = Math.max(1, channels / this.channels);
    const magnitude = magnitudes(this.spectra, bins, copies);
    const estimates = await this.estimate(magnitude, frames * bins, this.channels * copies);
    const keep = Math.min(this.step, this.total - this.done);
    const last = this.done + keep === this.total;
    const stems = new Map<string, Channels>();
    for (const [source, synthesis] of this.synthesis) {
      const estimate = estimates.get(source)!;
      for (let frame = contextFrames; frame < contextFrames + keep; frame++) {
        this.setGain(frame, estimate, magnitude, copies);
        const equal = this.spectra.areEqual(frame);
        // The network knows the channels by their places, and would tell equal ones apart.
        if (equal) averagePairs(this.gain);
        const samples = this.frames.invert(this.spectra, frame, this.gain);
        if (equal) averagePairs(samples); // the inverse transform's rounding
        synthesis.add(samples);
      }
      stems.set(source, synthesis.take(last));
    }
    this.done += keep;
    this.spectra.drop(this.step);
    return stems;
  }

  /** Analyses the frames that the window lacks. */
  private async fill(): Promise<void> {
    const { frames, contextFrames, transform } = this.contract;
    const at = contextFrames + this.analysed - this.done;
    const count = Math.min(frames - at, this.total - this.analysed);
    this.spectra.silence(this.analysed ? at : 0);
    if (count <= 0) return;
    const start = this.analysed * transform.hopLength - transform.nFft / 2;
    this.frames.analyse(await this.read(start, this.frames.span(count)), this.spectra, at);
    this.analysed += count;
  }

  /** Runs the network on groups of as many channels as it takes. */
  private async estimate(
    magnitude: Float32Array,
    values: number,
    channels: number,
  ): Promise<Map<string, Float32Array>> {
    const size = this.contract.channels;
    if (channels === size) return this.network(magnitude);
    const joined = new Map(
      this.contract.sources.map((source) => [source, new Float32Array(magnitude.length)]),
    );
    for (let channel = 0; channel < channels; channel++) {
      const one = Float32Array.from({ length: values }, (_, at) => magnitude[at * channels + channel]!);
      for (const [source, answer] of await this.network(one)) {
        const out = joined.get(source)!;
        for (let at = 0; at < values; at++) out[at * channels + channel] = answer[at]!;
      }
    }
    return joined;
  }

  /** Sets the factors by which a source takes part in the mixture's frame, for all bins. */
  private setGain(frame: number, estimate: Float32Array, magnitude: Float32Array, copies: number): void {
    const { bins, output } = this.contract;
    const all = this.gain.length / this.channels;
    const wide = this.channels * copies;
    const isMask = output === "mask";
    for (let channel = 0; channel < this.channels; channel++) {
      let above = 0;
      for (let bin = 0; bin < bins; bin++) {
        let sum = 0;
        above = 0;
        for (let copy = 0; copy < copies; copy++) {
          const at = (frame * bins + bin) * wide + channel + copy;
          const mixture = magnitude[at]!;
          const share = mixture > 0 ? (isMask ? estimate[at]! : estimate[at]! / mixture) : 0;
          sum += share;
          above += Math.min(1, Math.max(0, share));
        }
        this.gain[bin * this.channels + channel] = sum / copies;
      }
      // Bins that the network does not see take the mask of the last one that it sees.
      for (let bin = bins; bin < all; bin++) this.gain[bin * this.channels + channel] = above / copies;
    }
  }
}

/** Gives the values at 2k and 2k + 1 their average. */
function averagePairs(values: Float32Array | Float64Array): void {
  for (let at = 0; at < values.length; at += 2) {
    values[at] = values[at + 1] = (values[at]! + values[at + 1]!) / 2;
  }
}

/** Returns the magnitude of the lowest bins, each channel `copies` times. */
function magnitudes(spectra: Spectra, bins: number, copies: number): Float32Array {
  const { frames, channels, re, im } = spectra;
  const out = new Float32Array(frames * bins * channels * copies);
  let to = 0;
  for (let frame = 0; frame < frames; frame++) {
    let from = frame * spectra.bins * channels;
    for (let value = 0; value < bins * channels; value++, from++) {
      const magnitude = Math.sqrt(re[from]! * re[from]! + im[from]! * im[from]!);
      for (let copy = 0; copy < copies; copy++) out[to++] = magnitude;
    }
  }
  return out;
}
