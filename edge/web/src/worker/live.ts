/** Separates a signal as it comes. */
import type { Piece } from "../live/line";
import { Cancelled } from "../errors";
import type { LineOptions } from "../messages";
import { type Contract, latency, stepFrames } from "../model/contract";
import type { Channels, Frames } from "../signal/transform";
import { type Network, Separation } from "../signal/windows";
import { breathe } from "./job";

/** What the audio thread takes at a time. */
const QUANTUM = 128;
// Time for the computation: a machine that keeps up takes a step's length at most, but messages are late at times.
const LEAST_BUFFER_SECONDS = 0.03;

/** Returns the sizes of a model's live run. */
export function lineOf(contract: Contract): LineOptions {
  const { hopLength } = contract.transform;
  const buffer = Math.max(stepFrames(contract) * hopLength, LEAST_BUFFER_SECONDS * contract.sampleRate);
  // A quantum more, for the cross-fade.
  const samples = latency(contract) + buffer + QUANTUM;
  return { latency: Math.ceil(samples / QUANTUM) * QUANTUM, hopLength };
}

/**
 * Takes stereo blocks from the port and gives back their stems, until `cancelled` is aborted: it then
 * throws `Cancelled`.
 *
 * A window whose stems would come later than `allowed` samples after the mixture is left out: the
 * samples that it reaches are not given back.
 */
export async function live(
  port: MessagePort,
  contract: Contract,
  open: () => Network,
  frames: Frames,
  allowed: number,
  cancelled: AbortSignal,
): Promise<never> {
  const separation = new Separation(contract, open, frames, 2);
  let [received, start, spoiled] = [0, 0, 0];
  let wake = () => {};
  cancelled.addEventListener("abort", () => wake());
  port.onmessage = ({ data }: MessageEvent<Channels>) => {
    received += data[0]!.length;
    separation.push(data);
    wake();
  };
  for (;;) {
    await breathe(); // after what has come meanwhile it is known how late it is
    if (cancelled.aborted) {
      port.close();
      throw new Cancelled("cancelled");
    }
    if (!separation.isReady) {
      await new Promise<void>((resolve) => (wake = resolve));
      continue;
    }
    const isLate = received - start > allowed;
    if (isLate) spoiled = separation.reach;
    const samples = await separation.next(isLate);
    const stems = contract.sources.map((source) => samples.get(source)!);
    const piece: Piece = { start, stems };
    start += stems[0]![0]!.length;
    if (start > piece.start && piece.start >= spoiled) port.postMessage(piece);
  }
}
