/**
 * Plays stems in step, from where they lie: short buffers are put one after the other on the audio
 * clock, a few seconds ahead, so that a song never has to be in memory as a whole.
 */
import { Faders } from "./mix";
import type { Track } from "./track";

const CHUNK_SECONDS = 2;
const AHEAD_SECONDS = 5;
const TICK_MS = 200;
const START_SECONDS = 0.08;

export class Player {
  private context: AudioContext | null = null;
  private faders: Faders | null = null;
  private sources = new Set<AudioBufferSourceNode>();
  /** The sample that sounds at `clock` on the context's clock. */
  private anchor = 0;
  private clock = 0;
  /** The next sample to put on the clock. */
  private next = 0;
  private timer: number | null = null;
  /** Counts starts and stops: what was read for an earlier one is dropped. */
  private turn = 0;
  private filling = false;

  constructor(
    private readonly track: Track,
    private gains: number[],
    private readonly onChange: () => void,
  ) {}

  get isPlaying(): boolean {
    return this.timer !== null;
  }

  /** The sample that sounds now. */
  get position(): number {
    if (!this.isPlaying || !this.context) return this.anchor;
    const played = Math.max(0, this.context.currentTime - this.clock) * this.track.sampleRate;
    return Math.min(Math.floor(this.anchor + played), this.next, this.track.numSamples);
  }

  async play(): Promise<void> {
    if (this.isPlaying) return;
    this.context ??= this.open();
    if (this.position >= this.track.numSamples) this.anchor = 0;
    this.timer = window.setInterval(() => this.tick(), TICK_MS);
    this.start(this.anchor);
    this.onChange();
    await this.context.resume();
  }

  pause(): void {
    if (!this.isPlaying) return;
    const here = this.position;
    this.stop();
    this.anchor = here;
    this.onChange();
  }

  /** Goes to a sample; what is not there yet cannot be reached. */
  seek(sample: number): void {
    const target = Math.round(Math.min(Math.max(0, sample), this.track.available));
    if (this.isPlaying) this.start(target);
    else this.anchor = target;
    this.onChange();
  }

  setGains(gains: number[]): void {
    this.gains = gains;
    this.faders?.set(gains);
  }

  close(): void {
    this.stop();
    void this.context?.close();
    this.context = null;
  }

  private open(): AudioContext {
    // On an iPhone the switch for the ringer would silence the page, too.
    const { audioSession } = navigator as { audioSession?: { type: string } };
    if (audioSession) audioSession.type = "playback";
    const context = new AudioContext({ sampleRate: this.track.sampleRate, latencyHint: "playback" });
    this.faders = new Faders(context, this.gains);
    return context;
  }

  private start(sample: number): void {
    this.silence();
    this.anchor = this.next = sample;
    this.setClock();
    void this.fill();
  }

  /** Puts the anchor on the clock, a moment from now and on the grid of samples. */
  private setClock(): void {
    const rate = this.context!.sampleRate;
    this.clock = Math.ceil((this.context!.currentTime + START_SECONDS) * rate) / rate;
  }

  private stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    this.silence();
  }

  private silence(): void {
    this.turn++;
    this.filling = false;
    for (const source of this.sources) source.stop();
    this.sources.clear();
  }

  private tick(): void {
    if (this.position >= this.track.numSamples) {
      this.stop();
      this.anchor = 0;
      this.onChange();
      return;
    }
    void this.fill();
  }

  private async fill(): Promise<void> {
    if (this.filling) return;
    const { turn } = this;
    const { sampleRate } = this.track;
    this.filling = true;
    while (this.next < this.track.available && this.next < this.position + AHEAD_SECONDS * sampleRate) {
      const stems = await this.track.read(this.next, CHUNK_SECONDS * sampleRate);
      if (turn !== this.turn) return;
      this.schedule(stems);
    }
    this.filling = false;
  }

  private schedule(stems: Float32Array<ArrayBuffer>[][]): void {
    const context = this.context!;
    let at = this.clock + (this.next - this.anchor) / this.track.sampleRate;
    if (at < context.currentTime) {
      // The stems came too late, as they may while the song is still in work: go on from here.
      this.anchor = this.next;
      this.setClock();
      at = this.clock;
    }
    stems.forEach((channels, stem) => {
      const length = channels[0]!.length;
      const buffer = context.createBuffer(channels.length, length, this.track.sampleRate);
      channels.forEach((samples, channel) => buffer.copyToChannel(samples, channel));
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(this.faders!.nodes[stem]!);
      source.onended = () => this.sources.delete(source);
      source.start(at);
      this.sources.add(source);
    });
    this.next += stems[0]![0]!.length;
  }
}
