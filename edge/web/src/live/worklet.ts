/** The audio thread's part of a live run: hops of the mixture to the worker, stems from it to the outputs. */
import type { LineOptions } from "../messages";
import type { Channels } from "../signal/transform";
import { Line } from "./line";

// TypeScript has no types for this scope.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new (options: AudioWorkletNodeOptions) => AudioWorkletProcessor): void;

class LiveProcessor extends AudioWorkletProcessor {
  private readonly line: Line;
  private readonly hop: Channels;
  private filled = 0;
  private told = 0;
  private worker: MessagePort | null = null;

  constructor({ processorOptions, outputChannelCount }: AudioWorkletNodeOptions) {
    super();
    const { latency, hopLength } = processorOptions as LineOptions;
    const channels = outputChannelCount![0]!;
    this.line = new Line(channels, latency);
    this.hop = Array.from({ length: channels }, () => new Float32Array(hopLength));
    this.port.onmessage = ({ data }: MessageEvent<MessagePort>) => {
      this.worker = data;
      data.onmessage = (event) => this.line.deliver(event.data);
    };
  }

  process([input]: Channels[], outputs: Channels[]): boolean {
    if (!this.worker) return true; // not connected yet
    this.send(input!, outputs[0]![0]!.length);
    this.line.exchange(input!, outputs);
    if (this.line.dropouts > this.told) this.port.postMessage((this.told = this.line.dropouts));
    return true;
  }

  /** Collects the mixture and sends each hop that is full. */
  private send(input: Channels, length: number): void {
    for (let at = 0; at < length; ) {
      const room = Math.min(length - at, this.hop[0]!.length - this.filled);
      this.hop.forEach((hop, channel) => {
        const samples = input[channel];
        if (samples) hop.set(samples.subarray(at, at + room), this.filled);
        else hop.fill(0, this.filled, this.filled + room);
      });
      at += room;
      this.filled += room;
      if (this.filled < this.hop[0]!.length) continue;
      this.worker!.postMessage(this.hop); // a copy
      this.filled = 0;
    }
  }
}

registerProcessor("live", LiveProcessor);
