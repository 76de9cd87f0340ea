/** Separates one song: asks for its samples, gives back its stems piece by piece. */
import { Cancelled } from "../errors";
import type { Segment } from "../messages";
import type { Contract } from "../model/contract";
import { groups } from "../signal/channels";
import type { Channels } from "../signal/transform";
import { type Network, Separation } from "../signal/windows";
import { Stem } from "./stem";
import type { Storage } from "./storage";

// Models with small windows give their samples in pieces of at least this length.
const MIN_SEGMENT = 1 << 16;

/** Returns samples of some channels of the reflected signal. */
export type ReadChannels = (channels: number[], start: number, length: number) => Promise<Channels>;

export interface Song {
  channels: number;
  numSamples: number;
}

/**
 * Separates a song and hands each segment to `send`, as soon as it is there.
 *
 * Returns the CRC-32 of each stem's WAV file. Throws `Cancelled` where `cancelled` says so.
 */
export async function separate(
  song: Song,
  contract: Contract,
  network: Network,
  storage: Storage,
  read: ReadChannels,
  cancelled: () => boolean,
  send: (segment: Omit<Segment, "kind" | "job">) => void,
): Promise<Record<string, number>> {
  const parts = groups(song.channels).map((group) => {
    const readGroup = (start: number, length: number) => read(group, start, length);
    return new Separation(contract, network, readGroup, group.length, song.numSamples);
  });
  const stems = contract.sources.map(
    (source) => new Stem(source, storage, song.numSamples, song.channels, contract.sampleRate),
  );
  const waiting = contract.sources.map(() => new Waiting(song.channels));
  const { windows } = parts[0]!;
  for (let window = 1; window <= windows; window++) {
    const ready: Map<string, Channels>[] = [];
    for (const part of parts) {
      if (cancelled()) throw new Cancelled("cancelled");
      ready.push(await part.next());
    }
    contract.sources.forEach((source, at) => waiting[at]!.add(ready.flatMap((stem) => stem.get(source)!)));
    const last = window === windows;
    if (!last && waiting[0]!.length < MIN_SEGMENT) continue;
    const numSamples = waiting[0]!.length;
    const written = [];
    for (const [at, stem] of stems.entries()) written.push(await stem.push(waiting[at]!.take(), last));
    send({ numSamples, stems: written });
  }
  return Object.fromEntries(contract.sources.map((source, at) => [source, stems[at]!.crc]));
}

/** Samples that wait until they are enough for a segment. */
class Waiting {
  length = 0;
  private blocks: Channels[] = [];

  constructor(private readonly channels: number) {}

  add(block: Channels): void {
    this.blocks.push(block);
    this.length += block[0]!.length;
  }

  take(): Channels {
    const joined = Array.from({ length: this.channels }, (_, channel) => {
      const out = new Float32Array(this.length);
      let at = 0;
      for (const block of this.blocks) {
        out.set(block[channel]!, at);
        at += block[channel]!.length;
      }
      return out;
    });
    [this.blocks, this.length] = [[], 0];
    return joined;
  }
}
