/** Draws one stem's waveform: bars, the played part bright, with the playhead. */

const BAR = 2;
const GAP = 1;
const DIM = 0.62;

/**
 * Draws peaks, the lowest and highest sample of equal stretches in turn, over the whole canvas.
 *
 * `played` and `available` are shares of the song, 0 to 1. The colour is the canvas's CSS colour.
 */
export function drawWaveform(
  canvas: HTMLCanvasElement,
  peaks: Float32Array,
  scale: number,
  played: number,
  available: number,
): void {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).color;
  const bars = Math.floor((width + GAP) / (BAR + GAP));
  for (let bar = 0; bar < bars; bar++) {
    const share = bar / bars;
    const tall = share < available ? Math.min(1, loudest(peaks, bar, bars) * scale) : 0;
    const size = Math.max(2, tall * (height - 4));
    context.globalAlpha = share < played ? 1 : share < available ? DIM : DIM / 3;
    context.fillRect(bar * (BAR + GAP), (height - size) / 2, BAR, size);
  }
  context.globalAlpha = 1;
  if (played > 0) {
    context.fillStyle = getComputedStyle(document.body).color;
    context.fillRect(Math.min(width - 2, played * width), 0, 2, height);
  }
}

/** Returns the scale at which the loudest stem fills its picture; silence is not blown up. */
export function scaleOf(peaks: Float32Array[]): number {
  return 1 / peaks.reduce((most, stem) => stem.reduce((high, value) => Math.max(high, Math.abs(value)), most), 0.05);
}

/** The largest magnitude among the peaks that one bar stands for. */
export function loudest(peaks: Float32Array, bar: number, bars: number): number {
  const pairs = peaks.length / 2;
  const first = Math.floor((bar * pairs) / bars);
  const last = Math.max(first + 1, Math.floor(((bar + 1) * pairs) / bars));
  let most = 0;
  for (let index = 2 * first; index < Math.min(peaks.length, 2 * last); index++) {
    most = Math.max(most, Math.abs(peaks[index]!));
  }
  return most;
}
