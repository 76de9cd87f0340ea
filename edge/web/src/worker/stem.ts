/** Collects the samples of one stem: 16-bit PCM in storage, its peaks, its checksum. */
import { crc32 } from "../crc32";
import { PEAK_SAMPLES, type StemSegment } from "../messages";
import type { Channels } from "../signal/transform";
import { toPcm, wavHeader } from "../wav";
import type { Storage } from "./storage";

export class Stem {
  /** CRC-32 of the WAV file so far. */
  crc: number;
  private readonly peaks: Peaks = new Peaks();

  constructor(
    private readonly source: string,
    private readonly storage: Storage,
    numSamples: number,
    channels: number,
    sampleRate: number,
  ) {
    this.crc = crc32(wavHeader(numSamples, channels, sampleRate));
  }

  /** Takes the next samples of all channels; `last` ends the stem. */
  async push(channels: Channels, last: boolean): Promise<StemSegment> {
    const { pcm, clipped } = toPcm(channels);
    this.crc = crc32(pcm, this.crc);
    const peaks = this.peaks.push(channels, last);
    return { source: this.source, pcm: await this.storage.keep(pcm), peaks, clipped };
  }
}

/** Lowest and highest sample of each 1024, over all channels. */
export class Peaks {
  private count = 0;
  private low = 0;
  private high = 0;

  push(channels: Channels, last: boolean): Float32Array {
    const length = channels[0]!.length;
    const out: number[] = [];
    for (let start = 0; start < length; ) {
      const end = Math.min(start + PEAK_SAMPLES - this.count, length);
      let { low, high } = this;
      for (const samples of channels) {
        for (let at = start; at < end; at++) {
          const value = samples[at]!;
          if (value < low) low = value;
          if (value > high) high = value;
        }
      }
      [this.low, this.high] = [low, high];
      this.count += end - start;
      start = end;
      if (this.count === PEAK_SAMPLES) this.flush(out);
    }
    if (last && this.count) this.flush(out);
    return Float32Array.from(out);
  }

  private flush(out: number[]): void {
    out.push(this.low, this.high);
    [this.count, this.low, this.high] = [0, 0, 0];
  }
}
