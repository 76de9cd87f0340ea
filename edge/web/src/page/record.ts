/** The microphone as a source: a recording, which is then separated like a file. */
import { PlainError } from "../errors";

const BITS_PER_SECOND = 256_000;

export class Recording {
  readonly started = performance.now();
  private readonly chunks: Blob[] = [];

  private constructor(
    private readonly stream: MediaStream,
    private readonly recorder: MediaRecorder,
  ) {
    recorder.ondataavailable = ({ data }) => this.chunks.push(data);
    recorder.start(1000);
  }

  /** Asks for the microphone and starts; throws a PlainError where there is none. */
  static async start(): Promise<Recording> {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      throw new PlainError(
        window.isSecureContext
          ? "This browser cannot record."
          : "Browsers lend the microphone to pages over https only. Serve the page with a certificate, or choose a file.",
      );
    }
    try {
      // What makes speech clearer takes music apart: it stays off.
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: {
          echoCancellation: false,
          noiseSuppression: false,
          autoGainControl: false,
          channelCount: { ideal: 2 },
        },
      });
      return new Recording(stream, new MediaRecorder(stream, { audioBitsPerSecond: BITS_PER_SECOND }));
    } catch (error) {
      throw new PlainError(
        (error as Error).name === "NotAllowedError"
          ? "The microphone was not allowed. Allow it in the browser's settings of this page."
          : "No microphone was found. Connect one, or choose a file.",
      );
    }
  }

  /** Ends the recording and returns it as a file. */
  stop(): Promise<Blob> {
    return new Promise((resolve) => {
      this.recorder.onstop = () => {
        for (const track of this.stream.getTracks()) track.stop();
        resolve(new Blob(this.chunks, { type: this.recorder.mimeType }));
      };
      this.recorder.stop();
    });
  }
}
