declare module "fft.js" {
  /** A complex transform; arrays hold real and imaginary parts in turn. */
  export default class FFT {
    constructor(size: number);
    transform(out: Float64Array, data: Float64Array): void;
    inverseTransform(out: Float64Array, data: Float64Array): void;
  }
}
