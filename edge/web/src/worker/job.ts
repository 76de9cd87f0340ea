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

/** Lets messages in. A timer would wait for 4 ms. */
export function breathe(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/**
 * Separates a song and hands each segment to `send`, as soon as it is there.
 *
 * Returns the CRC-32 of each stem's WAV file. Throws `Cancelled` once `cancelled` is aborted.
 */
export async function separate(
  song: Channels,
  contract: Contract,
  open: () => Network,
  frames: Frames,
  storage: Storage,
  cancelled: AbortSignal,
  send: (segment: Omit<Segment, "kind" | "job">) => void,
): Promise<Record<string, number>> {
  const [channels, numSamples] = [song.length, song[0]!.length];
  const parts = groups(channels).map((group) => {
    const part = new Separation(contract, open, frames, group.length);
    part.push(group.map((channel) => song[channel]!));
    part.end();
    return part;
  });
  const stems = contract.sources.map(
    (source) => new Stem(source, storage, numSamples, channels, contract.sampleRate),
  );
  const waiting = contract.sources.map(() => new Waiting(channels));
  for (let last = false; !last; ) {
    const ready: Map<string, Channels>[] = [];
    for (const part of parts) {
      await breathe();
      if (cancelled.aborted) throw new Cancelled("cancelled");
      ready.push(await part.next());
    }
    contract.sources.forEach((source, at) => waiting[at]!.add(ready.flatMap((stem) => stem.get(source)!)));
    last = !parts[0]!.isReady;
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
