"""Everything between samples and stems: STFT, windows, resampling, Wiener filter, channels."""
