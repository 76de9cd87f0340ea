/** WAV files of 16-bit samples. */

export const WAV_HEADER_BYTES = 44;
export const MAX_WAV_BYTES = 2 ** 32 - 2 ** 16;

/** Returns the header of a WAV file of 16-bit samples. */
export function wavHeader(numSamples: number, channels: number, sampleRate: number): Uint8Array<ArrayBuffer> {
  const dataBytes = numSamples * channels * 2;
  const view = new DataView(new ArrayBuffer(WAV_HEADER_BYTES));
  const text = (at: number, letters: string) =>
    [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, WAV_HEADER_BYTES - 8 + dataBytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, channels, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, dataBytes, true);
  return new Uint8Array(view.buffer);
}

/**
 * Interleaves channels as 16-bit samples; what is beyond full scale is set to it.
 *
 * Returns the samples and how many were beyond.
 */
export function toPcm(channels: Float32Array[]): { pcm: Uint8Array<ArrayBuffer>; clipped: number } {
  // All browsers are on little-endian machines, as WAV files are.
  const pcm = new Int16Array(channels[0]!.length * channels.length);
  let clipped = 0;
  channels.forEach((samples, channel) => {
    for (let index = 0, at = channel; index < samples.length; index++, at += channels.length) {
      let step = Math.floor(samples[index]! * 32768 + 0.5); // three times as fast as Math.round
      if (step < -32768 || step > 32767) {
        step = step < 0 ? -32768 : 32767;
        clipped++;
      }
      pcm[at] = step;
    }
  });
  return { pcm: new Uint8Array(pcm.buffer), clipped };
}

/** Takes interleaved little-endian 16-bit samples apart into floats. */
export function fromPcm(bytes: ArrayBuffer, channels: number): Float32Array<ArrayBuffer>[] {
  const view = new DataView(bytes);
  const length = bytes.byteLength / 2 / channels;
  return Array.from({ length: channels }, (_, channel) => {
    const samples = new Float32Array(length);
    for (let index = 0; index < length; index++) {
      samples[index] = view.getInt16((index * channels + channel) * 2, true) / 32768;
    }
    return samples;
  });
}
