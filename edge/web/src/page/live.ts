/** A live run: what is heard now goes to the worker, and its stems, a moment later, to the faders. */
import workletUrl from "../live/worklet.ts?worker&url";
import { PlainError } from "../errors";
import type { Loaded } from "../messages";
import type { Client } from "./client";
import { Faders } from "./mix";

const CHANNELS = 2;

/** Asks for another tab and its sound; throws a PlainError where there is none. */
export async function openTab(): Promise<MediaStream> {
  // The tab itself falls silent: it is heard through this page.
  const audio = { suppressLocalAudioPlayback: true, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({ audio, video: true });
  } catch {
    throw new PlainError("No tab was chosen. Choose a tab that plays music, and share its sound.");
  }
  for (const track of stream.getVideoTracks()) track.stop();
  if (stream.getAudioTracks().length) return stream;
  throw new PlainError("The tab came without its sound. Choose it again and switch on its sound below.");
}

export class Live {
  dropouts = 0;
  /** One per stem, before its fader. */
  readonly analysers: AnalyserNode[];
  /** Rejected when the run ends: with `Cancelled` if it was ended here. */
  readonly ended: Promise<unknown>;
  private readonly faders: Faders;

  private constructor(
    private readonly stream: MediaStream,
    private readonly context: AudioContext,
    private readonly loaded: Loaded,
    gains: number[],
    client: Client,
  ) {
    const { sources, line } = loaded;
    // The last output is for the mixture, where stems are late.
    const outputs = sources.length + 1;
    const node = new AudioWorkletNode(context, "live", {
      numberOfOutputs: outputs,
      outputChannelCount: Array.from({ length: outputs }, () => CHANNELS),
      channelCount: CHANNELS,
      channelCountMode: "explicit",
      processorOptions: line,
    });
    node.port.onmessage = ({ data }) => (this.dropouts = data);
    this.faders = new Faders(context, gains);
    this.analysers = this.faders.nodes.map((fader, stem) => {
      const analyser = new AnalyserNode(context, { fftSize: 2048 });
      node.connect(analyser, stem).connect(fader);
      return analyser;
    });
    node.connect(context.destination, sources.length);
    context.createMediaStreamSource(stream).connect(node);
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage(port1, [port1]);
    this.ended = client.live(port2, line.latency);
    stream.getAudioTracks()[0]!.onended = () => client.cancel();
  }

  static async start(stream: MediaStream, loaded: Loaded, gains: number[], client: Client): Promise<Live> {
    const { audioSession } = navigator as { audioSession?: { type: string } };
    if (audioSession) audioSession.type = "play-and-record";
    const context = new AudioContext({ sampleRate: loaded.sampleRate, latencyHint: "interactive" });
    try {
      await context.audioWorklet.addModule(workletUrl);
      await context.resume();
      return new Live(stream, context, loaded, gains, client);
    } catch (error) {
      void context.close();
      // Firefox does not resample what a microphone gives.
      if ((error as Error).name !== "NotSupportedError") throw error;
      throw new PlainError(
        `This browser takes no sound at another rate than the model's, ${loaded.sampleRate} Hz. ` +
          "Set the device to that rate, or use Chrome.",
      );
    }
  }

  /** Seconds from the input to the output, as far as the browser tells those of its devices. */
  get latency(): number {
    const { baseLatency, outputLatency } = this.context;
    const { latency } = this.stream.getAudioTracks()[0]!.getSettings() as { latency?: number };
    return this.loaded.line.latency / this.loaded.sampleRate + baseLatency + (outputLatency || 0) + (latency ?? 0);
  }

  setGains(gains: number[]): void {
    this.faders.set(gains);
  }

  close(): void {
    void this.context.close();
  }
}
