/** The output side of a live run: stems that are in time, otherwise the mixture. */
import type { Channels } from "../signal/transform";

/** Stems of the signal from sample `start` on, one per source. */
export interface Piece {
  start: number;
  stems: Channels[];
}

/**
 * Plays stems `latency` samples behind the input.
 *
 * Where they are not ready the mixture of the same place is played: the output never stops and never
 * falls behind. It is faded in and out over a block, for which the stems of the next block are asked.
 */
export class Line {
  /** Times that stems were late. */
  dropouts = 0;
  /** The sample to be played next; below 0 lies silence. */
  private position: number;
  private readonly mixture: Channels;
  private pieces: Piece[] = [];
  /** The stems' share of what was played last, 0 or 1; null at the signal's start. */
  private wet: number | null = null;

  constructor(
    channels: number,
    private readonly latency: number,
  ) {
    this.position = -latency;
    this.mixture = Array.from({ length: channels }, () => new Float32Array(latency));
  }

  deliver(piece: Piece): void {
    this.pieces.push(piece);
  }

  /**
   * Takes the next block of the mixture and writes one of each output, all of one length, which
   * divides the latency. The last output is for the mixture, the others are for the stems.
   */
  exchange(input: Channels, outputs: Channels[]): void {
    const { length } = outputs[0]![0]!;
    const stems = outputs.slice(0, -1);
    const place = (this.position + this.latency) % this.latency;
    this.mixture.forEach((ring, channel) => {
      if (this.position >= 0) outputs.at(-1)![channel]!.set(ring.subarray(place, place + length));
      const samples = input[channel];
      if (samples) ring.set(samples, place);
      else ring.fill(0, place, place + length); // the source is silent or gone
    });
    if (this.position >= 0) this.fade(this.read(stems, length), length, outputs);
    this.position += length;
  }

  /** Copies the stems of this block; returns whether they and those of the next block are there. */
  private read(stems: Channels[], length: number): boolean {
    const { position } = this;
    this.pieces = this.pieces.filter((piece) => piece.start + lengthOf(piece) > position);
    let known = position;
    for (const piece of this.pieces) {
      if (piece.start > known) break;
      const end = piece.start + lengthOf(piece);
      if (known < position + length) {
        stems.forEach((channels, stem) =>
          channels.forEach((out, channel) => {
            const part = piece.stems[stem]![channel]!.subarray(known - piece.start, position + length - piece.start);
            out.set(part, known - position);
          }),
        );
      }
      known = end;
    }
    return known >= position + 2 * length;
  }

  private fade(isReady: boolean, length: number, outputs: Channels[]): void {
    const to = Number(isReady);
    const from = this.wet ?? to;
    if (to === 0 && this.wet !== 0) this.dropouts++;
    this.wet = to;
    outputs.forEach((channels, output) => {
      const isMixture = output === outputs.length - 1;
      for (const out of channels) {
        for (let at = 0; at < length; at++) {
          const wet = from + ((to - from) * (at + 1)) / length;
          out[at]! *= isMixture ? 1 - wet : wet;
        }
      }
    });
  }
}

function lengthOf(piece: Piece): number {
  return piece.stems[0]![0]!.length;
}
