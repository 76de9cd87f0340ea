/** From a file to samples at the model's rate, by what the browser decodes. */
import { PlainError } from "../errors";
import { clock } from "./format";

const GIB = 2 ** 30;
// A song is whole in memory once, as floats; the share of the device's memory that it may take.
const MEMORY_SHARE = 1 / 8;
// Where the browser does not tell: Safari, Firefox, and pages that came over plain http.
const USUAL_MEMORY_GIB = 4;
// Beyond it single buffers become larger than some browsers make them.
const MOST_MEMORY_GIB = 8;
const BYTES_PER_SAMPLE = 4;
const METADATA_MS = 3000;

/** Returns the length that fits into a device's memory, in seconds of stereo; default: this one's. */
export function longestSeconds(sampleRate: number, memoryGib = deviceMemory()): number {
  const bytes = Math.min(memoryGib, MOST_MEMORY_GIB) * GIB * MEMORY_SHARE;
  return bytes / (2 * BYTES_PER_SAMPLE * sampleRate);
}

function deviceMemory(): number {
  return (navigator as { deviceMemory?: number }).deviceMemory ?? USUAL_MEMORY_GIB;
}

/**
 * Decodes a file. Other rates are resampled by the browser: it decodes into the rate of the context
 * that is asked.
 */
export async function decode(file: Blob, sampleRate: number): Promise<Float32Array<ArrayBuffer>[]> {
  if (!file.size) throw new PlainError("The file is empty. Choose a file with music.");
  const limit = longestSeconds(sampleRate);
  checkLength(await duration(file), limit);
  const context = contextOf(sampleRate);
  let buffer: AudioBuffer;
  try {
    buffer = await context.decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    throw unreadable(error);
  }
  checkLength(buffer.duration, limit);
  return Array.from({ length: buffer.numberOfChannels }, (_, at) => buffer.getChannelData(at));
}

function contextOf(sampleRate: number): OfflineAudioContext {
  try {
    return new OfflineAudioContext(1, 1, sampleRate);
  } catch {
    throw new PlainError(`This browser does not work at the model's ${sampleRate} Hz: take another model.`);
  }
}

function checkLength(seconds: number, limit: number): void {
  if (seconds > limit) {
    throw new PlainError(
      `This is ${clock(seconds)} long; the memory of this device is enough for ${clock(limit)}. ` +
        "Cut it into parts.",
    );
  }
}

function unreadable(error: unknown): PlainError {
  const name = error instanceof Error ? error.name : "";
  if (name === "EncodingError" || name === "NotSupportedError") {
    return new PlainError(
      "This browser cannot read the file as audio. Take a song as MP3, M4A, WAV, FLAC or Ogg.",
    );
  }
  return new PlainError("The song does not fit into the memory of this device. Cut it into parts.");
}

/** Returns the duration that the file's header tells, in seconds; 0 where it tells none. */
function duration(file: Blob): Promise<number> {
  const url = URL.createObjectURL(file);
  const audio = document.createElement("audio");
  audio.preload = "metadata";
  return new Promise<number>((resolve) => {
    audio.onloadedmetadata = () => resolve(Number.isFinite(audio.duration) ? audio.duration : 0);
    audio.onerror = () => resolve(0);
    setTimeout(() => resolve(0), METADATA_MS);
    audio.src = url;
  }).finally(() => {
    audio.removeAttribute("src");
    URL.revokeObjectURL(url);
  });
}
