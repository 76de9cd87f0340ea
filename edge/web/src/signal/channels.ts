/** Signals of more than two channels: which of their channels are separated together. */

// The order of channels in WAV and FLAC files; the centre and the low frequencies belong to no pair.
const LAYOUTS: Record<number, number[][]> = {
  3: [[0, 1], [2]],
  5: [[0, 1], [2], [3, 4]],
  6: [[0, 1], [2], [3], [4, 5]],
  7: [[0, 1], [2], [3], [4], [5, 6]],
  8: [[0, 1], [2], [3], [4, 5], [6, 7]],
};

/** Returns the channels that are separated together, as the runner does. */
export function groups(channels: number): number[][] {
  if (LAYOUTS[channels]) return LAYOUTS[channels];
  const pairs = Array.from({ length: Math.ceil(channels / 2) }, (_, pair) => [2 * pair, 2 * pair + 1]);
  return pairs.map((pair) => pair.filter((channel) => channel < channels));
}
