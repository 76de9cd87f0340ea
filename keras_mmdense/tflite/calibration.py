"""Music for an export: to measure the ranges of a network's inner values, and to compare on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmdense_edge.model.interpreter import Magnitude
from mmdense_edge.signal.stft import Audio, Spectrum, analyze

from keras_mmdense.data import DatasetError, Track, open_dataset
from keras_mmdense.errors import ExportError
from keras_mmdense.settings import Settings

MIN_SECONDS = 20.0
MAX_SECONDS = 120.0
SILENCE_RMS = 1e-3  # -60 dB of full scale
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")

MusicSource = str | os.PathLike[str] | Sequence[Track]


@dataclass(frozen=True)
class Music:
    """Windows of music as a network sees them.

    Args:
        calibration: Mixture magnitudes, (windows, frames, bins, channels), float32.
        check: Spectra of other windows' mixtures, (windows, frames, bins, channels), complex64.
        sources: The same windows of each source of the model; empty where the songs have no stems.
    """

    calibration: Magnitude
    check: Spectrum
    sources: dict[str, Spectrum]


def read_music(music: MusicSource, s: Settings, frames: int) -> Music:
    """Read windows for calibration and for comparison, always the same ones.

    Windows are spread evenly over the songs, silent ones are left out, and they go in turn to
    calibration and comparison.

    Args:
        music: A data set that `keras_mmdense.data.open_dataset` reads, its tracks, or a folder of
            songs (wav, flac, ogg, mp3, aiff) without stems.
        s: Settings of the model.
        frames: Frames of a window.

    Raises:
        ExportError: Less than 20 s of sounding music for each use, another rate, unreadable
            files.
    """
    num_samples = (frames - 1) * s.transform.hop_length + s.transform.n_fft
    songs = _songs(music, s)
    seconds = num_samples / s.sample_rate
    least, most = (int(np.ceil(t / seconds)) for t in (MIN_SECONDS, MAX_SECONDS))
    wanted = 2 * min(max(least, len(songs)), max(least, most))
    windows = [w for song in songs for w in _windows(song, num_samples, 1 + wanted // len(songs))]
    chosen = sorted({round(i) for i in np.linspace(0, len(windows) - 1, min(wanted, len(windows)))})
    windows = [windows[i] for i in chosen]
    half = len(windows) // 2
    if half * seconds < MIN_SECONDS:
        raise ExportError(
            f"an export needs {MIN_SECONDS:g} s of sounding music to calibrate and as much to "
            f"compare; received {half * seconds:.1f} s of each in {_label(music)}. Give more songs."
        )
    spectra = [_spectra(window, s) for window in windows]
    calibration, check = spectra[0::2][:half], spectra[1::2][:half]
    with_stems = all(len(window) == 1 + len(s.sources) for window in windows)
    return Music(
        np.abs(np.stack([x[0] for x in calibration])),
        np.stack([x[0] for x in check]),
        {
            name: np.stack([x[1 + i] for x in check]) for i, name in enumerate(s.sources)
        } if with_stems else {},
    )  # fmt: skip


def _label(music: MusicSource) -> str:
    return os.fspath(music) if isinstance(music, str | os.PathLike) else f"{len(music)} tracks"


class _Song:
    """A song without stems."""

    def __init__(self, path: Path, s: Settings) -> None:
        import soundfile

        try:
            info = soundfile.info(path)
        except soundfile.LibsndfileError as error:
            raise ExportError(f"music must be audio files; received {path} ({error}).") from error
        self.path, self.num_samples, self.sample_rate = path, info.frames, info.samplerate

    def read(self, start: int, count: int) -> list[Audio]:
        import soundfile

        return [soundfile.read(self.path, count, start, dtype="float32", always_2d=True)[0]]


class _Stems:
    """A track with the model's sources."""

    def __init__(self, track: Track, s: Settings) -> None:
        self.track, self.sources = track, s.sources
        self.path, self.num_samples = track.path, track.num_samples
        self.sample_rate = track.sample_rate

    def read(self, start: int, count: int) -> list[Audio]:
        return [self.track.read(name, start, count) for name in ("mixture", *self.sources)]


def _songs(music: MusicSource, s: Settings) -> list[_Song] | list[_Stems]:
    """Return the songs of a folder whose audio files lie in it directly, else tracks."""
    rate = s.sample_rate
    songs: list[_Song] | list[_Stems]
    if isinstance(music, str | os.PathLike):
        folder = Path(music)
        files = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in SUFFIXES]
        try:
            music = [] if files else list(open_dataset(folder, sample_rate=rate))
        except DatasetError as error:
            raise ExportError(
                f"music must be a data set or a folder of songs; received {folder} ({error})."
            ) from error
        songs = [_Song(path, s) for path in files]
    if music:
        songs = [_Stems(track, s) for track in music if set(s.sources) <= set(track.sources)]
    wrong = sorted({song.sample_rate for song in songs} - {rate})
    if not songs or wrong:
        raise ExportError(
            f"music must have the sources {', '.join(s.sources)} or be plain songs, at {rate} Hz; "
            f"received {len(songs)} such, rates {wrong}."
        )
    return songs


def _windows(song: _Song | _Stems, num_samples: int, count: int) -> Iterator[list[Audio]]:
    """Yield evenly spaced windows that sound, at most `count`; short songs end in silence."""
    last = max(0, song.num_samples - num_samples)
    length = min(num_samples, song.num_samples)
    count = max(1, min(count, song.num_samples // num_samples))  # no sample twice
    edges = np.linspace(0, song.num_samples, count + 1)
    starts = [min(last, round(edge)) for edge in edges[:-1]]
    for start in starts:
        window = [
            np.pad(audio, ((0, num_samples - length), (0, 0))) for audio in song.read(start, length)
        ]
        if float(np.sqrt(np.mean(window[0] ** 2))) > SILENCE_RMS:
            yield window


def _spectra(window: list[Audio], s: Settings) -> Spectrum:
    """Return (1 + sources, frames, bins, channels): the mixture and its sources."""
    made = []
    for audio in window:
        audio = audio.mean(axis=1, keepdims=True) if s.channels == 1 else audio
        audio = np.broadcast_to(audio, (len(audio), s.channels))
        made.append(analyze(np.ascontiguousarray(audio), s.transform)[:, : s.bins])
    return np.stack(made).astype(np.complex64)
