/** From a signal to its sources, window by window. */
import { ModelError } from "../errors";
import { type Contract, type States, numBins, numFrames, stepFrames } from "../model/contract";
import { type Channels, type Frames, Synthesis, padded } from "./transform";

/**
 * Estimates the sources in one window: a magnitude of shape (frames, bins, channels) in, for each
 * source an array of that shape out, by the contract a mask or a magnitude, valid until the next call.
 */
export type Network = (magnitude: Float32Array) => Promise<Map<string, Float32Array>>;

/** What a network with states remembers of one signal: values of past frames, zeros at first. */
export class Memory {
  private readonly ring: Float32Array[];
  private readonly read: Float32Array;
  /** Row of the next frame. */
  private row = 0;

  constructor(private readonly states: States) {
    this.ring = Array.from({ length: states.frames }, () => new Float32Array(states.kept));
    this.read = new Float32Array(states.read);
  }

  /** What the next frame reads, valid until the next call. */
  past(): Float32Array {
    const { frames, taps } = this.states;
    let at = 0;
    for (const [start, stop, delay] of taps) {
      this.read.set(this.ring[(this.row + frames - delay) % frames]!.subarray(start, stop), at);
      at += stop - start;
    }
    return this.read;
  }

  /** Takes the values of a frame. */
  keep(present: Float32Array): void {
    this.ring[this.row]!.set(present);
    this.row = (this.row + 1) % this.ring.length;
  }
}

/**
 * Separates one signal of one or two channels, as it comes, in memory that does not depend on its length.
 *
 * A window has `frames` frames; `context_frames` on each side are seen and thrown away. Before the
 * first frame and after the last the network sees silence. A mono signal goes into a stereo network
 * twice and its estimates are averaged; a stereo one goes through a mono network by channel. Frames
 * whose two channels are equal get equal estimates, the average.
 */
export class Separation {
  private readonly step: number;
  /** Channels of the magnitude. */
  private readonly width: number;
  /** Each for as many channels as it takes. */
  private readonly networks: Network[];
  /** What the network sees: shape (frames, bins, width). */
  private readonly magnitude: Float32Array;
  /** The mixture from the first new frame on: shape (frames - context_frames, channels, n_fft). */
  private readonly spectra: Float32Array;
  private readonly synthesis: Synthesis;
  /** A source's share of each bin of a frame. */
  private readonly gain: Float32Array;
  /** The samples that are still needed, from number `first` on. */
  private held: Channels;
  private first = 0;
  private received = 0;
  private ended = false;
  private analysed = 0;
  private done = 0;

  /** `open` returns a network for this signal alone. */
  constructor(
    private readonly contract: Contract,
    open: () => Network,
    private readonly frames: Frames,
    channels: number,
  ) {
    const { transform, sources, contextFrames, bins } = contract;
    this.step = stepFrames(contract);
    this.width = Math.max(contract.channels, channels);
    this.networks = Array.from({ length: this.width / contract.channels }, open);
    this.magnitude = new Float32Array(contract.frames * bins * this.width);
    this.spectra = new Float32Array((contract.frames - contextFrames) * channels * transform.nFft);
    this.synthesis = new Synthesis(frames, sources.length * channels, this.step);
    this.gain = new Float32Array(numBins(transform));
    this.held = Array.from({ length: channels }, () => new Float32Array(0));
  }

  /** Takes the signal's next samples; they are not changed. */
  push(block: Channels): void {
    this.received += block[0]!.length;
    this.held = this.held.map((before, channel) => {
      if (!before.length) return block[channel]!;
      const both = new Float32Array(before.length + block[channel]!.length);
      both.set(before);
      both.set(block[channel]!, before.length);
      return both;
    });
  }

  /** Ends the signal, which has a sample at least. */
  end(): void {
    this.ended = true;
  }

  /** Frames that are known. */
  private get total(): number {
    const { transform } = this.contract;
    if (this.ended) return numFrames(transform, this.received);
    const pad = transform.nFft / 2;
    return this.received > pad ? 1 + Math.floor((this.received - pad) / transform.hopLength) : 0;
  }

  /** Whether the next window can run. */
  get isReady(): boolean {
    const { frames, contextFrames } = this.contract;
    return this.done + (this.ended ? 1 : frames - contextFrames) <= this.total;
  }

  /** The first sample that the next window does not reach. */
  get reach(): number {
    const { nFft, hopLength } = this.contract.transform;
    return (this.done + this.step - 1) * hopLength + nFft / 2;
  }

  /** Runs the next window, or with `skip` takes silence for its answer; returns each source's next samples. */
  async next(skip = false): Promise<Map<string, Channels>> {
    this.fill();
    const { sources, bins, transform } = this.contract;
    const { length } = this.held;
    const estimates = skip
      ? new Map(sources.map((source) => [source, new Float32Array(this.magnitude.length)]))
      : await this.estimate();
    const keep = Math.min(this.step, this.total - this.done);
    for (let frame = 0; frame < keep; frame++) {
      const equal = this.areEqual(frame);
      sources.forEach((source, at) => {
        for (let channel = 0; channel < length; channel++) {
          this.apply(frame, channel, equal, source, estimates.get(source)!);
          this.synthesis.add(at * length + channel);
        }
      });
      this.synthesis.next();
    }
    this.done += keep;
    this.spectra.copyWithin(0, this.step * length * transform.nFft);
    this.magnitude.copyWithin(0, this.step * bins * this.width);
    const isLast = this.ended && this.done === this.total;
    const samples = this.synthesis.take(isLast ? this.received : null);
    return new Map(sources.map((source) => [source, samples.splice(0, length)]));
  }

  /** Analyses the frames that the window lacks. */
  private fill(): void {
    const { frames, bins, contextFrames, transform } = this.contract;
    const { magnitude, spectra, width, held } = this;
    const { nFft, hopLength } = transform;
    const pad = nFft / 2;
    const old = this.analysed - this.done;
    const count = Math.min(frames - contextFrames - old, this.total - this.analysed);
    magnitude.fill(0, (contextFrames + old) * bins * width);
    if (count <= 0) return;
    const start = this.analysed * hopLength - pad - this.first;
    held.forEach((samples, channel) => {
      const part = padded(samples, start, this.frames.span(count), pad);
      for (let frame = 0; frame < count; frame++) {
        this.frames.analyse(part, frame * hopLength);
        spectra.set(this.frames.spectrum, ((old + frame) * held.length + channel) * nFft);
        const row = (contextFrames + old + frame) * bins * width;
        for (let copy = channel; copy < width; copy += held.length) {
          this.frames.magnitudes(bins, magnitude, row + copy, width);
        }
      }
    });
    this.analysed += count;
    // One sample more than the pad stays: the end is reflected around the last one.
    const needed = Math.min(this.analysed * hopLength, this.received - 1) - pad;
    const drop = Math.max(0, needed - this.first);
    this.held = held.map((samples) => samples.subarray(drop));
    this.first += drop;
  }

  /** Runs the network on groups of as many channels as it takes. */
  private async estimate(): Promise<Map<string, Float32Array>> {
    const { magnitude, width } = this;
    const { sources, channels } = this.contract;
    if (channels === width) return this.networks[0]!(magnitude);
    const joined = new Map(sources.map((source) => [source, new Float32Array(magnitude.length)]));
    for (let channel = 0; channel < width; channel++) {
      const one = magnitude.filter((_, at) => at % width === channel);
      for (const [source, answer] of await this.networks[channel]!(one)) {
        const out = joined.get(source)!;
        answer.forEach((value, at) => (out[at * width + channel] = value));
      }
    }
    return joined;
  }

  /** Whether a new frame's two channels are equal: a stereo network would tell them apart by their places. */
  private areEqual(frame: number): boolean {
    if (this.held.length < 2) return false;
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
    const [one, two] = equal || this.held.length < width ? [0, 1] : [channel, channel];
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
    const from = 2 * half * (frame * this.held.length + channel);
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
