/** The progress of the song in work, with what time it still takes. */
import { byId } from "./dom";
import { remaining } from "./format";

const SPOKEN_STEP = 25;

export class Progress {
  private started = 0;
  private said = 0;

  /** Shows the panel; `title` says what is being done. */
  show(title: string): void {
    this.started = performance.now();
    this.said = 0;
    byId("work-title").textContent = title;
    byId("status").textContent = title;
    byId("work").hidden = false;
    this.set(0);
  }

  /** Sets the share that is done, 0 to 1. */
  set(share: number): void {
    const percent = Math.floor(share * 100);
    const elapsed = (performance.now() - this.started) / 1000;
    const left = share > 0 ? remaining((elapsed * (1 - share)) / share) : "";
    byId("work-text").textContent = share > 0 ? `${percent}% · ${left}` : "";
    const bar = byId("bar");
    bar.setAttribute("aria-valuenow", String(percent));
    bar.querySelector("span")!.style.transform = `scaleX(${share})`;
    if (percent >= this.said + SPOKEN_STEP) {
      this.said = percent;
      byId("status").textContent = `${percent}%, ${left}`;
    }
  }

  hide(): void {
    byId("work").hidden = true;
  }
}
