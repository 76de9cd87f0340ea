/** The microphone as a source: a recording, which is then separated like a file. */
import { PlainError } from "../errors";

const BITS_PER_SECOND = 256_000;

/** Asks for the microphone; throws a PlainError where there is none. */
export async function openMicrophone(): Promise<MediaStream> {
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
    throw new PlainError(
      window.isSecureContext
        ? "This browser cannot record."
        : "Browsers lend the microphone to pages over https only. Serve the page with a certificate, or choose a file.",
    );
  }
  try {
    // What makes speech clearer takes music apart: it stays off.
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        echoCancellation: false,
        noiseSuppression: false,
        autoGainControl: false,
        channelCount: { ideal: 2 },
      },
    });
  } catch (error) {
    throw new PlainError(
      (error as Error).name === "NotAllowedError"
        ? "The microphone was not allowed. Allow it in the browser's settings of this page."
        : "No microphone was found. Connect one, or choose a file.",
    );
  }
}

/** Gives the microphone or the tab back. */
export function stopTracks(stream?: MediaStream): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

export class Recording {
  readonly started = performance.now();
  private readonly chunks: Blob[] = [];

  private readonly recorder: MediaRecorder;

  constructor(private readonly stream: MediaStream) {
    this.recorder = new MediaRecorder(stream, { audioBitsPerSecond: BITS_PER_SECOND });
    this.recorder.ondataavailable = ({ data }) => this.chunks.push(data);
    this.recorder.start(1000);
  }

  /** Ends the recording and returns it as a file. */
  stop(): Promise<Blob> {
    return new Promise((resolve) => {
      this.recorder.onstop = () => {
        stopTracks(this.stream);
        resolve(new Blob(this.chunks, { type: this.recorder.mimeType }));
      };
      this.recorder.stop();
    });
  }
}
