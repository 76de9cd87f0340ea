/** The mixer: a row for each stem, the player below. */
import { Desk } from "./desk";
import { byId, make, save } from "./dom";
import { clock, spoken } from "./format";
import { Player } from "./player";
import type { Track } from "./track";
import { drawWaveform, scaleOf } from "./waveform";

const SEEK_SECONDS = 5;

export class MixerView {
  private readonly player: Player;
  private readonly desk: Desk;
  private readonly saves: HTMLButtonElement[];
  private readonly abort = new AbortController();
  private readonly resize = new ResizeObserver(() => this.draw());
  private frame = 0;

  constructor(private readonly track: Track) {
    this.desk = new Desk(track.sources, (gains) => this.onGains(gains), this.abort.signal);
    this.player = new Player(track, this.desk.gains, () => this.onPlayer());
    this.saves = track.sources.map((source, at) => this.makeSave(source, at));
    this.desk.rows.forEach(({ toggles, canvas }, at) => {
      toggles.append(this.saves[at]!);
      canvas.onclick = (event) => this.seek((event.offsetX / canvas.clientWidth) * track.seconds);
    });
    byId("song").textContent = track.name;
    byId("summary").textContent = "Listen while the rest is separated.";
    byId("total").textContent = clock(track.seconds);
    byId<HTMLInputElement>("seek").max = String(track.seconds);
    byId("mixer").hidden = false;
    this.listen();
    this.resize.observe(byId("stems"));
    this.update();
  }

  close(): void {
    this.abort.abort();
    this.resize.disconnect();
    cancelAnimationFrame(this.frame);
    this.player.close();
    byId("mixer").hidden = true;
  }

  /** Shows what has come to the track since. */
  update(): void {
    const saves = [...this.saves, byId<HTMLButtonElement>("save-all"), byId<HTMLButtonElement>("save-mix")];
    for (const button of saves) button.disabled = !this.track.isComplete;
    byId<HTMLButtonElement>("play").disabled = this.track.available === 0;
    this.draw();
    this.onPlayer();
  }

  private makeSave(source: string, at: number): HTMLButtonElement {
    const button = make("button", { type: "button", className: "toggle", textContent: "Save" });
    button.setAttribute("aria-label", `Save ${source} as WAV`);
    button.onclick = () => save(this.track.wav(at), `${this.track.name} - ${source}.wav`);
    return button;
  }

  private listen(): void {
    const { signal } = this.abort;
    const on = (id: string, kind: string, act: () => void) => byId(id).addEventListener(kind, act, { signal });
    on("play", "click", () => this.playOrPause());
    on("seek", "input", () => this.seek(Number(byId<HTMLInputElement>("seek").value)));
    on("save-all", "click", () => save(this.track.zip(new Date()), `${this.track.name}.zip`));
    on("save-mix", "click", () => void this.saveMix());
    document.addEventListener("keydown", (event) => this.onKey(event), { signal });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
  }

  private async saveMix(): Promise<void> {
    const button = byId<HTMLButtonElement>("save-mix");
    button.disabled = true;
    try {
      save(await this.track.mix(this.desk.gains), `${this.track.name} - mix.wav`);
    } finally {
      button.disabled = false;
    }
  }

  private onKey(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.code === "Space" && !target.matches("button, select, summary, a, input:not([type=range])")) {
      event.preventDefault();
      this.playOrPause();
    } else if ((event.code === "ArrowLeft" || event.code === "ArrowRight") && !target.matches("select, input[type=range]:not(#seek)")) {
      event.preventDefault();
      const step = event.code === "ArrowLeft" ? -SEEK_SECONDS : SEEK_SECONDS;
      this.seek(this.player.position / this.track.sampleRate + step);
    }
  }

  private playOrPause(): void {
    if (this.player.isPlaying) this.player.pause();
    else if (this.track.available) void this.player.play();
  }

  private seek(seconds: number): void {
    this.player.seek(seconds * this.track.sampleRate);
  }

  private onGains(gains: number[]): void {
    this.player.setGains(gains);
    this.draw();
  }

  private onPlayer(): void {
    const play = byId("play");
    play.toggleAttribute("data-playing", this.player.isPlaying);
    play.setAttribute("aria-label", this.player.isPlaying ? "Pause" : "Play");
    cancelAnimationFrame(this.frame);
    this.follow();
  }

  /** Shows the position, again with each picture while it plays. */
  private follow(): void {
    const seconds = this.player.position / this.track.sampleRate;
    const seek = byId<HTMLInputElement>("seek");
    seek.value = String(seconds);
    seek.setAttribute("aria-valuetext", `${spoken(seconds)} of ${spoken(this.track.seconds)}`);
    byId("now").textContent = clock(seconds);
    this.draw();
    if (this.player.isPlaying) this.frame = requestAnimationFrame(() => this.follow());
  }

  private draw(): void {
    const peaks = this.track.peaks;
    const scale = scaleOf(peaks);
    const { numSamples } = this.track;
    this.desk.rows.forEach((row, at) =>
      drawWaveform(row.canvas, peaks[at]!, scale, this.player.position / numSamples, this.track.available / numSamples),
    );
  }
}
