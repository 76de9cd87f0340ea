/** The page's side of the worker: one model, one song at a time. */
import { Cancelled, PlainError } from "../errors";
import type { Done, FromWorker, Loaded, Segment, ToWorker } from "../messages";

interface Job {
  id: number;
  onSegment(segment: Segment): void;
  resolve(done: Done): void;
  reject(error: Error): void;
}

export class Client {
  private readonly worker: Worker;
  private loading: { resolve(loaded: Loaded): void; reject(error: Error): void } | null = null;
  private job: Job | null = null;
  private jobs = 0;

  constructor() {
    this.worker = new Worker(new URL("../worker/worker.ts", import.meta.url), { name: "separation" });
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.receive(data);
    this.worker.onerror = (event) => this.fail(new PlainError(event.message || "The page's worker did not start."));
  }

  /** Loads a model file and makes the network ready. */
  load(model: Uint8Array<ArrayBuffer>, wasm: string): Promise<Loaded> {
    return new Promise((resolve, reject) => {
      this.loading = { resolve, reject };
      this.send({ kind: "load", model, wasm }, [model.buffer]);
    });
  }

  /** Separates a song, whose samples go to the worker; `onSegment` is given each piece of the stems. */
  separate(channels: Float32Array<ArrayBuffer>[], onSegment: (segment: Segment) => void): Promise<Done> {
    const transfer = channels.map((samples) => samples.buffer);
    return this.start((job) => this.send({ kind: "separate", job, channels }, transfer), onSegment);
  }

  /** Separates what comes through the port, until it is cancelled: the promise is then rejected. */
  live(port: MessagePort, latency: number): Promise<Done> {
    return this.start((job) => this.send({ kind: "live", job, port, latency }, [port]), () => {});
  }

  /** Ends the work, after the window that is being computed. */
  cancel(): void {
    if (!this.job) return;
    this.send({ kind: "cancel", job: this.job.id });
  }

  private start(send: (job: number) => void, onSegment: (segment: Segment) => void): Promise<Done> {
    const id = ++this.jobs;
    return new Promise((resolve, reject) => {
      this.job = { id, onSegment, resolve, reject };
      send(id);
    });
  }

  private send(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  private receive(message: FromWorker): void {
    if (message.kind === "loaded") {
      this.loading?.resolve(message);
      this.loading = null;
      return;
    }
    if (message.kind === "failed") {
      this.fail(message.cancelled ? new Cancelled(message.message) : new PlainError(message.message));
      return;
    }
    const { job } = this;
    if (!job || message.job !== job.id) return;
    if (message.kind === "segment") job.onSegment(message);
    if (message.kind === "done") {
      this.job = null;
      job.resolve(message);
    }
  }

  private fail(error: Error): void {
    const waiting = this.job ?? this.loading;
    this.job = this.loading = null;
    waiting?.reject(error);
  }
}
