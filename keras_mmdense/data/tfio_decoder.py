"""Whole files decoded with tensorflow-io, for those who want one decoder in and outside TensorFlow.

An option: soundfile reads the same files, seeks in them and needs nothing else. tensorflow-io
0.37.1, its last release, works only with TensorFlow 2.16 and 2.17. With other versions it can be
imported, but all its operations fail: `check_tfio` therefore calls one.

Only its stateless operations are used. `AudioIOTensor` returns wrong audio when two are alive:
https://github.com/tensorflow/io/issues/1647. 32-bit integer WAV is refused: `decode_wav` takes it
for float. WAV with an odd number of bytes (24 bits, mono) is reported as a fault.
"""

import io
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from typing import Any

import numpy as np
import soundfile as sf

from keras_mmdense.data.audio_files import Audio, Stream, check_excerpt
from keras_mmdense.data.problems import DatasetError, TrackError

# (container, samples) as libsndfile names them -> operation, type of its output
FORMATS = {
    ("WAV", "PCM_16"): ("decode_wav", "int16"),
    ("WAV", "PCM_24"): ("decode_wav", "int32"),
    ("WAV", "FLOAT"): ("decode_wav", "float32"),
    ("FLAC", "PCM_16"): ("decode_flac", "int16"),
    ("FLAC", "PCM_24"): ("decode_flac", "int32"),
    ("OGG", "VORBIS"): ("decode_vorbis", ""),  # always float32
    ("MP3", "MPEG_LAYER_III"): ("decode_mp3", ""),
}
INSTALL = (
    'they need TensorFlow 2.17 and Python 3.11 or 3.12: pip install ".[tfio]" in a checkout of '
    "keras_mmdense, in an environment of its own, or use soundfile"
)
PROBE = np.array([[1], [-2], [300]], np.int16)


def check_tfio() -> None:
    """Call one of tensorflow-io's decoders and compare what it returns.

    Raises:
        DatasetError: tensorflow-io is missing or does not work with this TensorFlow; says what to
            install.

    Example:
        >>> from contextlib import suppress
        >>> with suppress(DatasetError):  # if it is missing
        ...     check_tfio()
    """
    file = io.BytesIO()
    sf.write(file, PROBE, 44100, "PCM_16", format="WAV")
    try:
        decoded = _call("decode_wav", "int16", file.getvalue())
    # a missing package, a library that does not load, an operation without code (a RuntimeError)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DatasetError(
            f"tensorflow-io's decoders do not work here ({_versions()}: {reason}); {INSTALL}"
        ) from error
    if not np.array_equal(decoded, PROBE):
        raise DatasetError(f"tensorflow-io decodes wrongly here ({_versions()}); {INSTALL}")


def tfio_blocks(stream: Stream) -> Iterator[Audio]:
    """Yield a file's samples as one block, decoded by tensorflow-io.

    Args:
        stream: A WAV (16, 24 bits or float), FLAC (16 or 24 bits), Ogg Vorbis or MP3 file.

    Yields:
        Array of shape (num_samples, channels): int16 if the file is of 16 bits, else float32
        with full scale 1.0.

    Raises:
        TrackError: Another form of file, or samples that are missing, unreadable or not finite.
    """
    try:
        facts = sf.info(str(stream.path))
    except (OSError, sf.SoundFileError) as error:
        raise TrackError(stream.path, f"cannot be opened: {error}") from error
    # WAVEX is WAV with a longer header
    form = ("WAV" if facts.format == "WAVEX" else facts.format, facts.subtype)
    if form not in FORMATS:
        known = ", ".join(" ".join(form) for form in FORMATS)
        raise TrackError(stream.path, f"is {' '.join(form)}: tensorflow-io decodes {known} only")
    import tensorflow as tf

    try:
        audio = _call(*FORMATS[form], stream.path.read_bytes())
    except (OSError, tf.errors.OpError) as error:
        # without the names of graph nodes around it
        reason = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", str(error)).strip()
        raise TrackError(stream.path, f"tensorflow-io cannot decode it: {reason}") from error
    if audio.dtype == np.int32:  # 24 bits, in the upper ones of 32: exact in float32
        audio = np.multiply(audio, np.float32(2.0**-31), dtype=np.float32)
    check_excerpt(stream, audio, 0, stream.num_samples)
    yield audio


def _call(operation: str, dtype: str, data: bytes) -> Audio:
    import tensorflow_io as tfio

    options: dict[str, Any] = {"dtype": dtype} if dtype else {}
    audio: Audio = getattr(tfio.audio, operation)(data, **options).numpy()
    return audio


def _versions() -> str:
    names = ("tensorflow", "tensorflow-io")
    found = {name: [d.version for d in distributions(name=name)] for name in names}
    return ", ".join(f"{name} {v[0]}" if v else f"no {name}" for name, v in found.items())
