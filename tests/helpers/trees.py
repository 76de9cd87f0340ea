"""Small generated data sets: DSD100, MUSDB18-HQ, MUSDB18 and plain folders, seeded.

The sources of a track add up to its mixture exactly, in 16-bit integers (in MUSDB18 before AAC).
"""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

SAMPLE_RATE = 44100
SOURCES = ("bass", "drums", "other", "vocals")
STEM_ORDER = ("mixture", "drums", "bass", "other", "vocals")
Int16 = NDArray[np.int16]


def make_signals(
    seconds: float, seed: int, sources: Sequence[str] = SOURCES, sample_rate: int = SAMPLE_RATE
) -> dict[str, Int16]:
    """Return stereo int16 sources and their sum, "mixture"; each (num_samples, 2).

    "drums" are bursts of noise; any other source is a sine with two harmonics in its own range,
    at another level in each channel. The tone and the rhythm follow the seed.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    signals = {}
    for k, name in enumerate(sources):
        if name == "drums":
            decay = np.exp(-12 * np.mod(t * rng.uniform(3, 5), 1.0))
            wave = decay * rng.uniform(-1, 1, t.size)
        else:
            pitch = 70 * 2 ** (1.3 * k) * rng.uniform(1, 1.5)
            wave = sum(np.sin(2 * np.pi * pitch * h * t + k) / h for h in (1, 2, 3)) / 2
        levels = rng.uniform(0.4, 0.9, 2)
        signals[name] = np.rint(wave[:, None] * levels * 28000 / len(sources)).astype(np.int16)
    signals["mixture"] = np.sum(list(signals.values()), axis=0, dtype=np.int16)
    return signals


def write(path: Path, audio: NDArray, sample_rate: int = SAMPLE_RATE, **kwargs: str) -> None:
    """Write an audio file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, audio, sample_rate, **kwargs)


def make_dsd100(
    root: Path, num_dev: int = 2, num_test: int = 1, seconds: float = 1.0, seed: int = 0
) -> Path:
    """Write a DSD100 tree. Dev counts from 055: the second track is the first of "valid"."""
    names = [("Dev", f"{55 + k:03d} - Artist {k} - Song") for k in range(num_dev)]
    names += [("Test", f"{1 + k:03d} - Artist {k} - Song") for k in range(num_test)]
    for k, (split, name) in enumerate(names):
        for source, audio in make_signals(_seconds(seconds, k), seed + k).items():
            top = "Mixtures" if source == "mixture" else "Sources"
            write(root / top / split / name / f"{source}.wav", audio)
    return root


def make_musdb18hq(
    root: Path, num_train: int = 2, num_test: int = 1, seconds: float = 1.0, seed: int = 0
) -> Path:
    """Write a MUSDB18-HQ tree; the first track of the train folder is a validation track."""
    for k, (split, name) in enumerate(_musdb_names(num_train, num_test)):
        for source, audio in make_signals(_seconds(seconds, k), seed + k).items():
            write(root / split / name / f"{source}.wav", audio)
    return root


def make_folder(
    root: Path,
    num_tracks: int = 2,
    seconds: float = 1.0,
    seed: int = 0,
    sources: Sequence[str] = SOURCES,
    subsets: Sequence[str] = (),
    mixture: bool = True,
    suffix: str = "wav",
) -> Path:
    """Write track folders (`num_tracks` in each subset), with or without a mixture file."""
    for top in subsets or ("",):
        for k in range(num_tracks):
            signals = make_signals(_seconds(seconds, k), seed + k, sources)
            for source, audio in signals.items():
                if mixture or source != "mixture":
                    write(root / top / f"Song {k}" / f"{source}.{suffix}", audio)
    return root


def make_musdb18(
    root: Path, num_train: int = 2, num_test: int = 1, seconds: float = 1.0, seed: int = 0
) -> Path:
    """Write a MUSDB18 tree of .stem.mp4 files."""
    for k, (split, name) in enumerate(_musdb_names(num_train, num_test)):
        signals = make_signals(_seconds(seconds, k), seed + k)
        make_stem(root / split / f"{name}.stem.mp4", [signals[source] for source in STEM_ORDER])
    return root


def make_stem(
    path: Path, signals: Sequence[Int16], codec: str = "aac", lost_packet: int | None = None
) -> None:
    """Encode signals, each (num_samples, channels), as the streams of one MP4 file, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layouts = ["mono" if signal.shape[1] == 1 else "stereo" for signal in signals]
    with av.open(str(path), "w", format="mp4") as container:
        streams = [
            container.add_stream(codec, rate=SAMPLE_RATE, layout=layout, bit_rate=256000)
            for layout in layouts
        ]
        for stream, layout, signal in zip(streams, layouts, signals, strict=True):
            packed = np.ascontiguousarray(signal).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, "s16", layout)
            frame.sample_rate = SAMPLE_RATE
            frame.pts = 0  # without a time no edit list is written
            for k, packet in enumerate([*stream.encode(frame), *stream.encode(None)]):
                if k != lost_packet:
                    container.mux(packet)


def _musdb_names(num_train: int, num_test: int) -> list[tuple[str, str]]:
    train = ["Leaf - Summerghost", *(f"Artist {k} - Song" for k in range(1, num_train))]
    return [("train", name) for name in train[:num_train]] + [
        ("test", f"Artist {k} - Test Song") for k in range(num_test)
    ]


def _seconds(seconds: float, k: int) -> float:
    # Tracks of one tree differ in length, and no length is a multiple of anything.
    return seconds + (101 * k + 13) / SAMPLE_RATE
