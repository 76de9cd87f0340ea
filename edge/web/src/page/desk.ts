/** The rows of the stems: how loud each one is, and its picture. */
import { byId, make } from "./dom";
import { MAX_VOLUME, type StemMix, freshMix, gains } from "./mix";

const COLOURS = 8;

export interface Row {
  item: HTMLElement;
  toggles: HTMLElement;
  canvas: HTMLCanvasElement;
  solo: HTMLButtonElement;
  mute: HTMLButtonElement;
}

export class Desk {
  readonly rows: Row[];
  private readonly mix: StemMix[];

  /** Shows the rows; `onGains` is given the stems' gains when they change, until `closed` is aborted. */
  constructor(
    sources: string[],
    private readonly onGains: (gains: number[]) => void,
    closed: AbortSignal,
  ) {
    this.mix = freshMix(sources.length);
    this.rows = sources.map((source, at) => this.makeRow(source, at));
    byId("stems").replaceChildren(...this.rows.map((row) => row.item));
    document.addEventListener("keydown", (event) => this.onKey(event), { signal: closed });
  }

  get gains(): number[] {
    return gains(this.mix);
  }

  private makeRow(source: string, at: number): Row {
    const name = source[0]!.toUpperCase() + source.slice(1);
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Waveform of ${source}`);
    const solo = this.toggle("Solo", `Solo ${source}`, () => this.flip(at, "solo"));
    const mute = this.toggle("Mute", `Mute ${source}`, () => this.flip(at, "muted"));
    mute.classList.add("mute");
    const toggles = make("div", { className: "toggles" }, solo, mute);
    const item = make("li", { className: "stem" }, make("h3", {}, name), toggles, canvas, this.makeVolume(source, at));
    item.style.setProperty("--stem", `var(--stem-${at % COLOURS})`);
    return { item, toggles, canvas, solo, mute };
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

  private onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey || (event.target as HTMLElement).matches("select")) return;
    const at = Number(/^Digit([1-9])$/.exec(event.code)?.[1]) - 1;
    if (at < this.mix.length) this.flip(at, event.shiftKey ? "muted" : "solo");
  }

  private flip(at: number, what: "solo" | "muted"): void {
    this.mix[at]![what] = !this.mix[at]![what];
    this.onMix();
  }

  private onMix(): void {
    const levels = this.gains;
    this.rows.forEach((row, at) => {
      row.solo.setAttribute("aria-pressed", String(this.mix[at]!.solo));
      row.mute.setAttribute("aria-pressed", String(this.mix[at]!.muted));
      row.item.classList.toggle("silent", levels[at] === 0);
    });
    this.onGains(levels);
  }
}
