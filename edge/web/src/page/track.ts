/** The stems of one song, as far as they are there. */
import { PEAK_SAMPLES, type Segment } from "../messages";
import { MAX_WAV_BYTES, fromPcm, toPcm, wavHeader } from "../wav";
import { zip } from "../zip";

interface Piece {
  start: number;
  numSamples: number;
  /** One per source. */
  pcm: Blob[];
}

const WAV = { type: "audio/wav" };

export class Track {
  /** Samples that are there. */
  available = 0;
  clipped = 0;
  /** For each source the lowest and highest sample of each 1024. */
  readonly peaks: Float32Array[];
  private readonly counts: number[];
  private readonly pieces: Piece[] = [];
  private crcs: Record<string, number> | null = null;

  constructor(
    readonly name: string,
    readonly sources: string[],
    readonly channels: number,
    readonly numSamples: number,
    readonly sampleRate: number,
  ) {
    const length = 2 * Math.ceil(numSamples / PEAK_SAMPLES);
    this.peaks = sources.map(() => new Float32Array(length));
    this.counts = sources.map(() => 0);
  }

  get seconds(): number {
    return this.numSamples / this.sampleRate;
  }

  get isComplete(): boolean {
    return this.crcs !== null;
  }

  append(segment: Segment): void {
    const pcm = segment.stems.map((stem) => stem.pcm);
    this.pieces.push({ start: this.available, numSamples: segment.numSamples, pcm });
    this.available += segment.numSamples;
    segment.stems.forEach((stem, at) => {
      this.peaks[at]!.set(stem.peaks, this.counts[at]!);
      this.counts[at]! += stem.peaks.length;
      this.clipped += stem.clipped;
    });
  }

  complete(crcs: Record<string, number>): void {
    this.crcs = crcs;
  }

  /** Returns samples of all stems from `start` on: at most `most`, at least 1 where there are any. */
  async read(start: number, most: number): Promise<Float32Array<ArrayBuffer>[][]> {
    const piece = this.pieces.find((found) => start < found.start + found.numSamples)!;
    const from = start - piece.start;
    const to = Math.min(from + most, piece.numSamples);
    const frame = 2 * this.channels;
    return Promise.all(
      piece.pcm.map(async (pcm) =>
        fromPcm(await pcm.slice(from * frame, to * frame).arrayBuffer(), this.channels),
      ),
    );
  }

  /** One stem as a WAV file. */
  wav(source: number): Blob {
    return new Blob(this.parts(source), WAV);
  }

  /** All stems in one ZIP file. */
  zip(date: Date): Blob {
    const files = this.sources.map((source, at) => ({
      name: `${this.name}/${source}.wav`,
      parts: this.parts(at),
      crc: this.crcs![source]!,
    }));
    return zip(files, date);
  }

  /** The sum of the stems, each times its gain, as a WAV file. */
  async mix(gains: number[]): Promise<Blob> {
    const blocks: BlobPart[] = [this.header()];
    for (let at = 0; at < this.numSamples; ) {
      const stems = await this.read(at, this.sampleRate);
      const sum = mixed(stems, gains);
      blocks.push(new Blob([toPcm(sum).pcm]));
      at += sum[0]!.length;
    }
    return new Blob(blocks, WAV);
  }

  private parts(source: number): (Blob | Uint8Array<ArrayBuffer>)[] {
    return [this.header(), ...this.pieces.map((piece) => piece.pcm[source]!)];
  }

  private header(): Uint8Array<ArrayBuffer> {
    if (this.numSamples * this.channels * 2 > MAX_WAV_BYTES) {
      throw new RangeError("a WAV file holds 4 GiB at most");
    }
    return wavHeader(this.numSamples, this.channels, this.sampleRate);
  }
}

/** Returns the sum of stems times gains, channel by channel. */
export function mixed(stems: Float32Array[][], gains: number[]): Float32Array[] {
  return stems[0]!.map((first, channel) => {
    const sum = new Float32Array(first.length);
    stems.forEach((stem, at) => {
      const gain = gains[at]!;
      const samples = stem[channel]!;
      for (let index = 0; index < sum.length; index++) sum[index]! += gain * samples[index]!;
    });
    return sum;
  });
}
