/** The mixer of a live run: the stems as they sound, latency and drop-outs. */
import type { Loaded } from "../messages";
import type { Client } from "./client";
import { Desk } from "./desk";
import { byId } from "./dom";
import { delay } from "./format";
import { Live } from "./live";
import { drawWaveform, scaleOf } from "./waveform";

const PEAKS = 256;

export class LiveView {
  private readonly peaks: Float32Array[];
  private readonly samples: Float32Array<ArrayBuffer>;
  private frame = 0;

  private constructor(
    private readonly desk: Desk,
    private readonly live: Live,
    private readonly closed: AbortController,
  ) {
    this.peaks = live.analysers.map(() => new Float32Array(2 * PEAKS));
    this.samples = new Float32Array(live.analysers[0]!.fftSize);
    byId("mixer").hidden = false;
    this.follow();
  }

  static async open(stream: MediaStream, name: string, loaded: Loaded, client: Client): Promise<LiveView> {
    const closed = new AbortController();
    let live: Live | null = null;
    const desk = new Desk(loaded.sources, (gains) => live?.setGains(gains), closed.signal);
    byId("song").textContent = name;
    try {
      live = await Live.start(stream, loaded, desk.gains, client);
    } catch (error) {
      closed.abort();
      throw error;
    }
    return new LiveView(desk, live, closed);
  }

  get ended(): Promise<unknown> {
    return this.live.ended;
  }

  close(): void {
    this.closed.abort();
    cancelAnimationFrame(this.frame);
    this.live.close();
    byId("mixer").hidden = true;
  }

  /** Shows the latest peaks, again with each picture. */
  private follow(): void {
    const { dropouts, latency } = this.live;
    byId("summary").textContent = `Latency ${delay(latency)}, drop-outs ${dropouts}`;
    this.live.analysers.forEach((analyser, at) => {
      const peaks = this.peaks[at]!;
      analyser.getFloatTimeDomainData(this.samples);
      peaks.copyWithin(0, 2);
      peaks.set([Math.min(...this.samples), Math.max(...this.samples)], peaks.length - 2);
    });
    const scale = scaleOf(this.peaks);
    this.desk.rows.forEach(({ canvas }, at) => drawWaveform(canvas, this.peaks[at]!, scale, 1, 1));
    this.frame = requestAnimationFrame(() => this.follow());
  }
}
