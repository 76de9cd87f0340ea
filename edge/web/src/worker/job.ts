/** Separates one song and gives back its stems piece by piece. */
import { Cancelled } from "../errors";
import type { Segment } from "../messages";
import type { Contract } from "../model/contract";
import { groups } from "../signal/channels";
import type { Channels, Frames } from "../signal/transform";
import { type Network, Separation } from "../signal/windows";
import { Stem } from "./stem";
import type { Storage } from "./storage";

// Models with small windows give their samples in pieces of at least this length.
const MIN_SEGMENT = 1 << 16;

/**
 * Separates a song and hands each segment to `send`, as soon as it is there.
 *
 * Returns the CRC-32 of each stem's WAV file. Throws `Cancelled` where `cancelled` says so.
 */
export async function separate(
  song: Channels,
  contract: Contract,
  network: Network,
  frames: Frames,
  storage: Storage,
  cancelled: () => boolean,
  send: (segment: Omit<Segment, "kind" | "job">) => void,
): Promise<Record<string, number>> {
  const [channels, numSamples] = [song.length, song[0]!.length];
  const parts = groups(channels).map((group) => {
    const signal = group.map((channel) => song[channel]!);
    return new Separation(contract, network, frames, signal);
  });
  const stems = contract.sources.map(
    (source) => new Stem(source, storage, numSamples, channels, contract.sampleRate),
  );
  const waiting = contract.sources.map(() => new Waiting(channels));
  const { windows } = parts[0]!;
  for (let window = 1; window <= windows; window++) {
    const ready: Map<string, Channels>[] = [];
    for (const part of parts) {
      await new Promise((resolve) => setTimeout(resolve)); // lets messages in
      if (cancelled()) throw new Cancelled("cancelled");
      ready.push(await part.next());
    }
    contract.sources.forEach((source, at) => waiting[at]!.add(ready.flatMap((stem) => stem.get(source)!)));
    const last = window === windows;
    if (!last && waiting[0]!.length < MIN_SEGMENT) continue;
    const segment = waiting[0]!.length;
    const written = [];
    for (const [at, stem] of stems.entries()) written.push(await stem.push(waiting[at]!.take(), last));
    send({ numSamples: segment, stems: written });
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
    const joined = this.blocks.length === 1 ? this.blocks[0]! : Array.from({ length: this.channels }, (_, channel) => {
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
