/** Which stems sound how loud: volume, mute and solo. */

export interface StemMix {
  /** 0 to MAX_VOLUME; 1 is as separated. */
  volume: number;
  muted: boolean;
  solo: boolean;
}

export const MAX_VOLUME = 1.5;

export function freshMix(stems: number): StemMix[] {
  return Array.from({ length: stems }, () => ({ volume: 1, muted: false, solo: false }));
}

/** Returns each stem's gain: a muted one is silent, and with solos all but those, too. */
export function gains(mix: StemMix[]): number[] {
  const soloed = mix.some((stem) => stem.solo);
  return mix.map(({ volume, muted, solo }) => (muted || (soloed && !solo) ? 0 : volume));
}

const FADE_SECONDS = 0.015;

/** A node for each stem that makes it as loud as the mixer says, without clicks. */
export class Faders {
  readonly nodes: GainNode[];

  constructor(
    private readonly context: AudioContext,
    gains: number[],
  ) {
    this.nodes = gains.map((gain) => {
      const node = new GainNode(context, { gain });
      node.connect(context.destination);
      return node;
    });
  }

  set(gains: number[]): void {
    const now = this.context.currentTime;
    gains.forEach((gain, at) => this.nodes[at]!.gain.setTargetAtTime(gain, now, FADE_SECONDS));
  }
}
