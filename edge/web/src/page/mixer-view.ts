/** The mixer: a row for each stem, the player below. */
import { byId, make, save } from "./dom";
import { clock, spoken } from "./format";
import { MAX_VOLUME, type StemMix, freshMix, gains } from "./mix";
import { Player } from "./player";
import type { Track } from "./track";
import { drawWaveform } from "./waveform";

const SEEK_SECONDS = 5;
const COLOURS = 8;

interface Row {
  item: HTMLElement;
  canvas: HTMLCanvasElement;
  solo: HTMLButtonElement;
  mute: HTMLButtonElement;
  save: HTMLButtonElement;
}

export class MixerView {
  private readonly player: Player;
  private readonly mix: StemMix[];
  private readonly rows: Row[];
  private readonly abort = new AbortController();
  private readonly resize = new ResizeObserver(() => this.draw());
  private frame = 0;

  constructor(private readonly track: Track) {
    this.mix = freshMix(track.sources.length);
    this.player = new Player(track, gains(this.mix), () => this.onPlayer());
    this.rows = track.sources.map((source, at) => this.makeRow(source, at));
    byId("stems").replaceChildren(...this.rows.map((row) => row.item));
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
    const saves = [...this.rows.map((row) => row.save), byId<HTMLButtonElement>("save-all"), byId<HTMLButtonElement>("save-mix")];
    for (const button of saves) button.disabled = !this.track.isComplete;
    byId<HTMLButtonElement>("play").disabled = this.track.available === 0;
    this.draw();
    this.onPlayer();
  }

  private makeRow(source: string, at: number): Row {
    const name = source[0]!.toUpperCase() + source.slice(1);
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Waveform of ${source}`);
    canvas.onclick = (event) => this.seek((event.offsetX / canvas.clientWidth) * this.track.seconds);
    const solo = this.toggle("Solo", `Solo ${source}`, () => this.flip(at, "solo"));
    const mute = this.toggle("Mute", `Mute ${source}`, () => this.flip(at, "muted"));
    mute.classList.add("mute");
    const saveButton = make("button", { type: "button", className: "toggle", textContent: "Save" });
    saveButton.setAttribute("aria-label", `Save ${source} as WAV`);
    saveButton.onclick = () => save(this.track.wav(at), `${this.track.name} - ${source}.wav`);
    const item = make(
      "li",
      { className: "stem" },
      make("h3", {}, name),
      make("div", { className: "toggles" }, solo, mute, saveButton),
      canvas,
      this.makeVolume(source, at),
    );
    item.style.setProperty("--stem", `var(--stem-${at % COLOURS})`);
    return { item, canvas, solo, mute, save: saveButton };
  }

  private toggle(text: string, label: string, onClick: () => void): HTMLButtonElement {
    const button = make("button", { type: "button", className: "toggle", textContent: text, onclick: onClick });
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-pressed", "false");
    return button;
  }

  private makeVolume(source: string, at: number): HTMLElement {
    const range = make("input", { type: "range", min: "0", max: String(MAX_VOLUME), step: "0.01", value: "1" });
    range.setAttribute("aria-label", `Volume of ${source}`);
    const output = make("output", {}, "100%");
    const show = () => {
      output.textContent = `${Math.round(this.mix[at]!.volume * 100)}%`;
      range.setAttribute("aria-valuetext", output.textContent);
    };
    range.oninput = () => {
      this.mix[at]!.volume = Number(range.value);
      show();
      this.onMix();
    };
    show();
    return make("div", { className: "volume" }, make("span", { ariaHidden: "true" }, "Volume"), range, output);
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
      save(await this.track.mix(gains(this.mix)), `${this.track.name} - mix.wav`);
    } finally {
      button.disabled = false;
    }
  }

  private onKey(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    if (digit && !target.matches("select")) {
      const at = Number(digit[1]) - 1;
      if (at < this.mix.length) this.flip(at, event.shiftKey ? "muted" : "solo");
    } else if (event.code === "Space" && !target.matches("button, select, summary, a, input:not([type=range])")) {
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

  private flip(at: number, what: "solo" | "muted"): void {
    this.mix[at]![what] = !this.mix[at]![what];
    this.onMix();
  }

  private onMix(): void {
    const levels = gains(this.mix);
    this.player.setGains(levels);
    this.rows.forEach((row, at) => {
      row.solo.setAttribute("aria-pressed", String(this.mix[at]!.solo));
      row.mute.setAttribute("aria-pressed", String(this.mix[at]!.muted));
      row.item.classList.toggle("silent", levels[at] === 0);
    });
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
    const top = peaks.reduce((most, stem) => stem.reduce((high, value) => Math.max(high, Math.abs(value)), most), 0.05);
    const { numSamples } = this.track;
    this.rows.forEach((row, at) =>
      drawWaveform(row.canvas, peaks[at]!, 1 / top, this.player.position / numSamples, this.track.available / numSamples),
    );
  }
}
