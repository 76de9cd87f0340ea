"""Change, mix and transform excerpts on the device, with `keras.ops`.

The same code runs in the compiled step of TensorFlow, JAX and PyTorch, all of it in float32.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from mmdense_edge.signal.stft import hann

from keras_mmdense.data.audio_files import FULL_SCALE
from keras_mmdense.settings import Settings, Transform

LOWEST_HZ, HIGHEST_HZ, POINTS = 40.0, 16000.0, 7
# FFT lengths are multiples of this: a length with a large prime factor takes twice as long.
FFT_MULTIPLE = 4096
SPEED_STEPS = 128  # a speed is a whole number of these parts
MAX_SPEED = 1.3
# The filter of `respeed`: aliases are below -60 dB; at 44.1 kHz, 19 kHz still pass.
TAPS, CUTOFF, BETA = 64, 0.94, 5.65
# Kaiser's window, I0(BETA * sqrt(x)) / I0(BETA), as a polynomial of x
KAISER = [(BETA / 2) ** (2 * n) / math.factorial(n) ** 2 / float(np.i0(BETA)) for n in range(16)]


def mix(
    batch: Mapping[str, Any], settings: Settings, frames: int, target: str = "magnitude"
) -> tuple[Any, dict[str, Any]]:
    """Change and mix the excerpts of a batch, and transform mixture and sources.

    Args:
        batch: Examples of `keras_mmdense.data.mixing.ExcerptSampler` as a batch: "stems" (batch,
            names, num_read, 2), int16 or float32, or instead "starts" (batch, names), the
            positions of their first samples in "songs", the array that
            `keras_mmdense.data.mixing.song_bank` returns; "channel_mix" (batch, names, channels,
            2), what each output channel takes from left and right; "parts" (batch, sources,
            names), which of the data set's sources make up each source of the model; optionally
            "speeds" and "curves", see `respeed` and `equalize`, "offset" (batch, channels), which
            is added to the mixture alone, and "level" (batch, channels), the gains of mixture and
            sources after that.
        settings: Settings of the model: its sources, transform, bins and sample rate.
        frames: Frames of an excerpt.
        target: "magnitude" or "in_phase", as in `keras_mmdense.data.training_set`.

    Returns:
        The mixture's magnitude, and a dict with the target of each source; all are (batch,
        frames, bins, channels), float32.
    """
    import keras
    from keras import ops

    exact: AbstractContextManager[Any] = nullcontext()
    if keras.config.backend() == "jax":
        import jax

        # otherwise GPUs round the factors of products to 11 bits
        exact = jax.default_matmul_precision("float32")
    num_samples = excerpt_samples(frames, settings.transform)
    batch = {name: ops.convert_to_tensor(value) for name, value in batch.items()}
    if "starts" in batch:
        # an excerpt that is played slower does not use all of it
        num_read = math.ceil(MAX_SPEED * num_samples) + TAPS if "speeds" in batch else num_samples
        songs, starts = batch["songs"], batch["starts"][..., None]
        places = ops.minimum(starts + ops.arange(num_read, dtype="int32"), songs.shape[1] - 1)
        names = range(songs.shape[0])
        stems = ops.stack([ops.take(songs[i], places[:, i], axis=0) for i in names], axis=1)
    else:
        stems = batch["stems"]
    is_pcm16 = "int16" in str(stems.dtype)
    stems = ops.cast(stems, "float32") * (1 / FULL_SCALE if is_pcm16 else 1.0)
    with exact:
        if "speeds" in batch:
            stems = respeed(stems, batch["speeds"], num_samples)
        stems = ops.transpose(stems, (0, 1, 3, 2))  # transforms are along the last axis
        if "curves" in batch:
            stems = equalize(stems, batch["curves"], settings.sample_rate)
        stems = ops.matmul(ops.cast(batch["channel_mix"], "float32"), stems)
        sources = ops.einsum("bsn,bnct->sbct", ops.cast(batch["parts"], "float32"), stems)
    mixture = ops.sum(stems, axis=1)
    if "offset" in batch:
        mixture = mixture + ops.cast(batch["offset"], "float32")[..., None]
    signals = ops.concatenate([mixture[None], sources])
    if "level" in batch:
        signals = signals * ops.cast(batch["level"], "float32")[..., None]
    # No padding: all frames lie wholly inside the excerpt, as in the middle of a song.
    real, imag = spectrum(signals, settings.transform, settings.bins)
    if target == "in_phase":
        magnitude = ops.sqrt(ops.square(real[0]) + ops.square(imag[0]))
        along = real[1:] * real[:1] + imag[1:] * imag[:1]
        targets = along / ops.maximum(magnitude, 1e-20)
    else:
        magnitudes = ops.sqrt(ops.square(real) + ops.square(imag))
        magnitude, targets = magnitudes[0], magnitudes[1:]
    return magnitude, {name: targets[i] for i, name in enumerate(settings.sources)}


def excerpt_samples(frames: int, transform: Transform) -> int:
    """Return the length in samples of an excerpt that holds this many whole frames."""
    return (frames - 1) * transform.hop_length + transform.n_fft


def spectrum(samples: Any, transform: Transform, bins: int) -> tuple[Any, Any]:
    """Return the spectrum that `mmdense_edge.signal.stft.analyze` computes.

    Args:
        samples: (..., channels, num_samples), float32, at least n_fft samples. Only frames that
            lie wholly inside are transformed.
        transform: The transform.
        bins: Number of bins to keep, from bin 0.

    Returns:
        The real and the imaginary part, (..., frames, bins, channels), float32.
    """
    from keras import ops

    n_fft, hop_length = transform.n_fft, transform.hop_length
    *shape, num_samples = samples.shape
    num_frames = 1 + (num_samples - n_fft) // hop_length
    # Frames as rows of whole pieces: keras.ops.extract_sequences is a convolution with JAX.
    piece = math.gcd(n_fft, hop_length)
    used = (num_frames - 1) * hop_length + n_fft
    pieces = ops.reshape(samples[..., :used], (*shape, used // piece, piece))
    first = np.arange(num_frames)[:, None] * (hop_length // piece)
    frames = ops.take(pieces, first + np.arange(n_fft // piece), axis=-2)
    frames = ops.reshape(frames, (*shape, num_frames, n_fft))
    parts = ops.rfft(ops.multiply(frames, hann(n_fft)))
    real, imag = (ops.moveaxis(part[..., :bins], -3, -1) for part in parts)
    return real, imag


def equalize(stems: Any, curves: Any, sample_rate: int) -> Any:
    """Filter stems with smooth curves, without delay.

    Args:
        stems: (batch, names, channels, num_samples), float32.
        curves: (batch, names, POINTS), gains in dB at frequencies evenly spaced on a logarithmic
            axis from 40 Hz to 16 kHz; linear between these frequencies, constant beyond them.
        sample_rate: In Hz.

    Returns:
        Array of the same shape.
    """
    from keras import ops

    length = stems.shape[-1]
    # A short signal is not padded: most of the result would be zeros.
    multiple = FFT_MULTIPLE if length > FFT_MULTIPLE else 1
    n_fft = -(-length // multiple) * multiple
    frequencies = np.maximum(np.fft.rfftfreq(n_fft, 1 / sample_rate), 1.0)
    place = np.log(frequencies / LOWEST_HZ) / math.log(HIGHEST_HZ / LOWEST_HZ) * (POINTS - 1)
    hats = np.maximum(0, 1 - np.abs(np.clip(place, 0, POINTS - 1) - np.arange(POINTS)[:, None]))
    octaves = ops.matmul(ops.cast(curves, "float32"), hats.astype(np.float32))
    gain = ops.exp(octaves * (math.log(10) / 20))[:, :, None]
    padded = ops.pad(stems, [[0, 0]] * 3 + [[0, n_fft - length]])
    # as rows: XLA's FFT on CPUs takes no other order of the axes
    real, imag = ops.rfft(ops.reshape(padded, (-1, n_fft)))
    gain = ops.reshape(ops.broadcast_to(gain, (*stems.shape[:3], gain.shape[-1])), real.shape)
    filtered = ops.irfft((real * gain, imag * gain), n_fft)
    return ops.reshape(filtered[:, :length], stems.shape)


def respeed(stems: Any, speeds: Any, num_samples: int) -> Any:
    """Play the beginning of stems faster or slower; tempo and pitch change together.

    A speed is a ratio k / SPEED_STEPS. Each block of SPEED_STEPS output samples therefore reads
    its input k samples later than the block before, through the same kernel, so that a block is
    one matrix product of the input samples around it.

    Args:
        stems: (batch, names, num_read, channels), float32; at least num_samples * speed samples.
        speeds: (batch, names), int32: k, at most 1.3 * SPEED_STEPS.
        num_samples: Number of samples to return.

    Returns:
        (batch, names, num_samples, channels), float32.
    """
    from keras import ops

    batch, names, length, channels = stems.shape
    blocks = -(-num_samples // SPEED_STEPS)
    speeds = ops.cast(speeds, "int32")
    ratio = ops.cast(speeds, "float32")[..., None, None] / SPEED_STEPS
    # what each sample of a block takes from the samples around it: a windowed sinc
    width = math.ceil(MAX_SPEED * (SPEED_STEPS - 1)) + TAPS
    place = ops.arange(width, dtype="float32")[:, None] - (TAPS // 2 - 1)
    distance = place - ratio * ops.arange(SPEED_STEPS, dtype="float32")
    cutoff = CUTOFF / ops.maximum(ratio, 1.0)  # faster, high frequencies would alias
    angle = math.pi * cutoff * distance
    near = ops.abs(angle) < 1e-4
    sinc = ops.where(near, 1.0, ops.sin(angle) / ops.where(near, 1.0, angle))
    inside = ops.maximum(1 - ops.square(distance / (TAPS / 2)), 0.0)
    window = sum(c * inside**n for n, c in enumerate(KAISER))
    kernel = ops.where(inside > 0, cutoff * sinc * window, 0.0)  # (batch, names, width, steps)
    # the samples around each block, as rows of one long signal
    end = max(length, math.ceil(MAX_SPEED * SPEED_STEPS) * blocks) + width
    stems = ops.pad(stems, [[0, 0], [0, 0], [TAPS // 2 - 1, end - length], [0, 0]])
    end += TAPS // 2 - 1
    first = ops.arange(batch * names, dtype="int32") * end
    rows = ops.reshape(first, (batch, names, 1, 1)) + ops.arange(width, dtype="int32")
    rows = rows + speeds[..., None, None] * ops.arange(blocks, dtype="int32")[:, None]
    around = ops.take(ops.reshape(stems, (-1, channels)), rows, axis=0)
    played = ops.einsum("bnowc,bnws->bnosc", around, kernel)
    return ops.reshape(played, (batch, names, -1, channels))[:, :, :num_samples]
