/** The page: from a file or the microphone to stems in the mixer. */
import { Cancelled, PlainError } from "../errors";
import type { Loaded } from "../messages";
import { Client } from "./client";
import { decode, longestSeconds } from "./decode";
import { byId } from "./dom";
import { clock, megabytes, songName } from "./format";
import { openTab } from "./live";
import { LiveView } from "./live-view";
import { MixerView } from "./mixer-view";
import { type ModelEntry, fetchModel, listModels } from "./models";
import { keepOffline, register } from "./offline";
import { Progress } from "./progress";
import { Recording, openMicrophone, stopTracks } from "./record";
import { Track } from "./track";

// The folder stands beside the page and has LiteRT's version in its name.
const WASM = new URL(`litert-${__LITERT_VERSION__}/`, document.baseURI).href;

const HEADPHONES = "Use headphones: a microphone would hear the stems from loudspeakers.";

function backendName({ backend: { kind, threads } }: Loaded): string {
  return kind === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}`;
}

function summary(track: Track, seconds: number): string {
  const factor = (seconds / track.seconds).toFixed(2);
  const clipped = track.clipped ? ` ${track.clipped} samples beyond full scale were set to it.` : "";
  return `${clock(track.seconds)} separated in ${seconds.toFixed(1)} s, real-time factor ${factor}.${clipped}`;
}

/** Keeps the screen on: a phone stops the pages behind a dark one. */
async function keepAwake(): Promise<WakeLockSentinel | undefined> {
  try {
    return await navigator.wakeLock?.request("screen");
  } catch {
    return undefined; // refused, as at a low battery
  }
}

type State = "idle" | "recording" | "working" | "ready" | "live";

export class App {
  private readonly client = new Client();
  private readonly progress = new Progress();
  private models: ModelEntry[] = [];
  private engine: Promise<Loaded>;
  /** What the engine has loaded; null while it loads. */
  private current: Loaded | null = null;
  /** The value of the model's field that stands for the engine. */
  private chosen = "";
  /** The model files that were opened, by their values in that field. */
  private readonly opened = new Map<string, Blob>();
  private mixer: MixerView | LiveView | null = null;
  private recording: Recording | null = null;
  private file: { blob: Blob; name: string } | null = null;
  /** The work on the song before: the next waits for its end. */
  private work: Promise<void> = Promise.resolve();
  /** Counts what was begun or cancelled: what has not reached the worker yet gives way to what came later. */
  private turn = 0;

  constructor() {
    this.engine = this.startEngine();
    this.engine.catch((error) => this.showError(error));
    this.listen();
    this.tellTransport();
  }

  private async startEngine(): Promise<Loaded> {
    await register(() => document.body.dataset.state === "idle");
    this.models = await listModels();
    const select = byId<HTMLSelectElement>("model");
    select.replaceChildren(
      ...this.models.map((entry) => new Option(`${entry.title}, ${megabytes(entry.bytes)}`, entry.name, entry.isDefault, entry.isDefault)),
    );
    this.chosen = select.value;
    return this.loadEntry(this.models.find((entry) => entry.isDefault) ?? this.models[0]!);
  }

  private async loadEntry(entry: ModelEntry): Promise<Loaded> {
    const data = await fetchModel(entry, (share) => this.tell(`Loading the model, ${Math.round(share * 100)}%`));
    const loaded = await this.loadData(data);
    void keepOffline([entry.url, ...loaded.files]).then((kept) => {
      if (kept && this.current === loaded) this.tell(`${backendName(loaded)} · works offline`);
    });
    return loaded;
  }

  private async loadData(data: Uint8Array<ArrayBuffer>): Promise<Loaded> {
    const select = byId<HTMLSelectElement>("model");
    select.disabled = true;
    this.tell("Starting the engine");
    try {
      const loaded = await this.client.load(data, WASM);
      this.current = loaded;
      this.tell(backendName(loaded));
      byId("model-licence").textContent = `Model: ${loaded.name}, ${loaded.licence}`;
      return loaded;
    } catch (error) {
      this.tell("No engine");
      throw error;
    } finally {
      select.disabled = false;
    }
  }

  private tell(text: string): void {
    byId("engine").textContent = text;
  }

  private listen(): void {
    const file = byId<HTMLInputElement>("file");
    file.addEventListener("change", () => {
      const chosen = file.files?.[0];
      file.value = "";
      if (chosen) this.open(chosen, chosen.name);
    });
    byId("record").addEventListener("click", () => void this.record());
    byId("microphone").addEventListener("click", () => void this.goLive(openMicrophone, "Microphone", HEADPHONES));
    byId("tab").addEventListener("click", () => void this.goLive(openTab, "Tab", ""));
    byId("tab").hidden = !navigator.mediaDevices?.getDisplayMedia;
    for (const id of ["cancel", "stop"]) byId(id).addEventListener("click", () => this.cancel());
    byId("model").addEventListener("change", () => {
      this.cancel();
      this.changeModel();
    });
    byId("again").addEventListener("click", () => this.file && this.open(this.file.blob, this.file.name));
    window.addEventListener("beforeunload", (event) => {
      if (document.body.dataset.state === "working") event.preventDefault();
    });
    this.listenToDrops();
  }

  private listenToDrops(): void {
    const dragging = (on: boolean) => document.body.classList.toggle("dragging", on);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      dragging(true);
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) dragging(false);
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      dragging(false);
      const dropped = event.dataTransfer?.files[0];
      if (dropped) this.open(dropped, dropped.name);
      const others = (event.dataTransfer?.files.length ?? 1) - 1;
      if (others > 0) this.note(`One song at a time: ${dropped!.name} is taken, ${others} more left alone.`);
    });
  }

  private cancel(): void {
    this.turn++;
    this.client.cancel();
  }

  /** Ends what gave way, before it waits for an engine that waits for it. */
  private checkTurn(turn: number): void {
    if (turn !== this.turn) throw new Cancelled("cancelled");
  }

  private changeModel(): void {
    const { value } = byId<HTMLSelectElement>("model");
    const file = this.opened.get(value);
    const entry = this.models.find((found) => found.name === value);
    this.swapEngine(value, () => (file ? this.loadFile(file) : this.loadEntry(entry!)));
  }

  /** Loads a model once the work and the model before have ended; `value` stands for it in the field. */
  private swapEngine(value: string, load: () => Promise<Loaded>): void {
    this.clearError();
    this.current = null;
    this.tell("Loading the model");
    const [before, previous] = [this.work, this.engine];
    this.engine = Promise.allSettled([before, previous]).then(load).then(
      (loaded) => {
        this.chosen = byId<HTMLSelectElement>("model").value = value;
        byId("again").hidden = !this.file;
        return loaded;
      },
      async (error) => {
        this.showError(error);
        byId<HTMLSelectElement>("model").value = this.chosen;
        const loaded = await previous;
        this.tell(backendName(loaded));
        return loaded;
      },
    );
    this.engine.catch(() => this.tell("No engine"));
  }

  private async loadFile(blob: Blob): Promise<Loaded> {
    return this.loadData(new Uint8Array(await blob.arrayBuffer()));
  }

  private openModel(blob: Blob): void {
    const value = `file ${this.opened.size + 1}`;
    this.opened.set(value, blob);
    this.swapEngine(value, async () => {
      const loaded = await this.loadFile(blob);
      byId<HTMLSelectElement>("model").add(new Option(`${loaded.name}, ${loaded.precision}, from your file`, value));
      return loaded;
    });
  }

  /** Opens a song, or a model file, in place of what was there. */
  private open(blob: Blob, name: string): void {
    this.cancel();
    if (name.toLowerCase().endsWith(".tflite")) {
      this.openModel(blob);
      return;
    }
    this.clearError();
    const { turn } = this;
    this.work = this.work.then(() => this.separate(blob, name, turn));
  }

  private async separate(blob: Blob, fileName: string, turn: number): Promise<void> {
    this.closeMixer();
    this.file = { blob, name: fileName };
    byId("again").hidden = true;
    const name = songName(fileName);
    this.setState("working");
    this.progress.show(`Reading ${name}`);
    const awake = await keepAwake();
    try {
      await this.run(blob, name, turn);
      this.setState("ready");
    } catch (error) {
      if (!(error instanceof Cancelled)) this.showError(error);
      this.closeMixer();
      byId("status").textContent = error instanceof Cancelled ? "Cancelled" : "";
      this.setState("idle");
    } finally {
      this.progress.hide();
      void awake?.release();
    }
  }

  private closeMixer(): void {
    this.mixer?.close();
    this.mixer = null;
  }

  private async run(blob: Blob, name: string, turn: number): Promise<void> {
    this.checkTurn(turn);
    const { sources, sampleRate } = await this.engine;
    const channels = await decode(blob, sampleRate);
    this.checkTurn(turn);
    let mixer: MixerView | null = null;
    const track = new Track(name, sources, channels.length, channels[0]!.length, sampleRate);
    this.progress.show(`Separating ${name}`);
    const done = await this.client.separate(channels, (segment) => {
      track.append(segment);
      this.progress.set(track.available / track.numSamples);
      this.mixer = mixer ??= new MixerView(track);
      mixer.update();
    });
    track.complete(done.crcs);
    mixer!.update();
    byId("summary").textContent = summary(track, done.seconds);
    byId("status").textContent = "The stems are ready";
  }

  private async goLive(open: () => Promise<MediaStream>, name: string, note: string): Promise<void> {
    this.clearError();
    this.cancel();
    const { turn } = this;
    let stream: MediaStream | undefined;
    try {
      const opened = (stream = await open());
      const causal = this.models.find(({ isCausal }) => isCausal);
      if (causal && !(await this.engine).isCausal) {
        byId<HTMLSelectElement>("model").value = causal.name;
        this.changeModel();
      }
      this.work = this.work.then(() => this.live(opened, name, note, turn));
    } catch (error) {
      stopTracks(stream);
      this.showError(error);
    }
  }

  /** Runs live until it is cancelled. */
  private async live(stream: MediaStream, name: string, note: string, turn: number): Promise<void> {
    this.closeMixer();
    byId("again").hidden = true;
    const awake = await keepAwake();
    try {
      this.checkTurn(turn);
      const view = await LiveView.open(stream, name, await this.engine, this.client);
      this.mixer = view;
      if (turn !== this.turn) this.client.cancel();
      this.setState("live");
      byId("status").textContent = "Live";
      this.note(note);
      await view.ended;
    } catch (error) {
      if (!(error instanceof Cancelled)) this.showError(error);
      this.note("");
      byId("status").textContent = "";
      this.setState("idle");
    } finally {
      this.closeMixer();
      stopTracks(stream);
      void awake?.release();
    }
  }

  private async record(): Promise<void> {
    if (this.recording) return this.stopRecording();
    this.clearError();
    const button = byId<HTMLButtonElement>("record");
    button.disabled = true; // until it can stop what it starts
    let stream: MediaStream | undefined;
    try {
      if (document.body.dataset.state === "live") {
        this.cancel();
        await this.work;
      }
      const { sampleRate } = await this.engine;
      stream = await openMicrophone();
      this.recording = new Recording(stream);
      const limit = longestSeconds(sampleRate);
      this.setState("recording");
      const timer = setInterval(() => {
        const { recording } = this;
        if (!recording) return clearInterval(timer);
        const seconds = (performance.now() - recording.started) / 1000;
        button.textContent = `Stop, ${clock(seconds)}`;
        if (seconds > limit - 1) void this.stopRecording();
      }, 250);
      button.textContent = "Stop, 0:00";
    } catch (error) {
      stopTracks(stream);
      this.showError(error);
    } finally {
      button.disabled = false;
    }
  }

  private async stopRecording(): Promise<void> {
    const recording = this.recording!;
    this.recording = null;
    const blob = await recording.stop();
    byId("record").textContent = "Record";
    this.open(blob, "recording");
  }

  private setState(state: State): void {
    document.body.dataset.state = state;
  }

  private tellTransport(): void {
    if (window.isSecureContext) return;
    this.note(
      "This page came over plain http from another machine. Browsers then run it without threads, microphone and " +
        "offline use: serve it over https (mmdense serve --certificate) to have them.",
    );
  }

  private note(text: string): void {
    const note = byId("note");
    note.textContent = text;
    note.hidden = !text;
  }

  private clearError(): void {
    byId("error").hidden = true;
    byId("error").textContent = "";
    this.note("");
  }

  private showError(error: unknown): void {
    const box = byId("error");
    if (!(error instanceof PlainError)) console.error(error);
    box.textContent = error instanceof PlainError ? error.message : `Something went wrong: ${String(error)}`;
    box.hidden = false;
  }
}
