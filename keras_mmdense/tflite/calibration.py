"""Music for an export: for calibrating a network's inner ranges and for comparison."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmdense_edge.model.interpreter import Magnitude
from mmdense_edge.signal.stft import Spectrum, analyze

from keras_mmdense.data import DatasetError, Track, TrackError, open_dataset
from keras_mmdense.data.audio_files import AudioFile, open_audio_file
from keras_mmdense.errors import ExportError, require
from keras_mmdense.settings import Settings

MIN_SECONDS = 20.0
MAX_SECONDS = 120.0
SILENCE_RMS = 1e-3  # -60 dB of full scale
# Windows are calibrated on at these levels in turn, as songs come, and each eighth one-sided.
LEVELS = (0.0, 6.0, -20.0, -45.0)  # dB
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")

MusicSource = str | os.PathLike[str] | Sequence[Track]


@dataclass(frozen=True)
class Music:
    """Windows of music as a network sees them.

    Args:
        calibration: Mixture magnitudes, (windows, frames, bins, channels), float32, at `LEVELS`.
        check: Spectra of other windows' mixtures, (windows, frames, bins, channels), complex64.
        sources: The same windows of each source of the model; empty if the songs have no stems.
    """

    calibration: Magnitude
    check: Spectrum
    sources: dict[str, Spectrum]


def read_music(music: MusicSource, settings: Settings, frames: int) -> Music:
    """Read windows for calibration and for comparison; the choice is deterministic.

    Windows are spread evenly over the songs, silent ones are skipped, and they alternate between
    calibration and comparison.

    Args:
        music: A data set that `keras_mmdense.data.open_dataset` reads, its tracks, or a folder of
            songs (wav, flac, ogg, mp3, aiff) without stems.
        settings: Settings of the model.
        frames: Frames of a window.

    Raises:
        ExportError: There is less than 20 s of non-silent music for each use, the rate differs, or
            files are unreadable.
    """
    label = str(music) if isinstance(music, str | os.PathLike) else f"{len(music)} tracks"
    num_samples = (frames - 1) * settings.transform.hop_length + settings.transform.n_fft
    seconds = num_samples / settings.sample_rate
    least, most = (int(np.ceil(t / seconds)) for t in (MIN_SECONDS, MAX_SECONDS))
    try:
        songs = _songs(music, settings)
        wanted = 2 * min(max(least, len(songs)), max(least, most))
        each = 1 + wanted // len(songs)
        windows = [w for song in songs for w in _windows(song, settings, num_samples, each)]
    except (DatasetError, TrackError) as error:
        raise ExportError(
            f"music must be a data set or a folder of songs; received {label} ({error})."
        ) from error
    places = np.linspace(0, len(windows) - 1, min(wanted, len(windows)))
    windows = [windows[i] for i in sorted({round(place) for place in places})]
    half = len(windows) // 2
    require(
        half * seconds >= MIN_SECONDS,
        f"an export needs {MIN_SECONDS:g} s of sounding music to calibrate and as much to compare",
        {"seconds": round(half * seconds, 1), "music": label},
        "Give more songs.",
        ExportError,
    )
    calibration, check = np.stack(windows[0::2][:half]), np.stack(windows[1::2][:half])
    names = settings.sources if check.shape[1] > 1 else ()
    sources = {name: check[:, 1 + i] for i, name in enumerate(names)}
    levels = np.resize(10 ** (np.array(LEVELS) / 20), (half, 1, 1, 1)).astype(np.float32)
    magnitudes = np.abs(calibration[:, 0]) * levels
    magnitudes[len(LEVELS) :: 2 * len(LEVELS), ..., 0] = 0
    return Music(magnitudes, check[:, 0], sources)


def _songs(music: MusicSource, settings: Settings) -> list[Track | AudioFile]:
    """Return the audio files directly in a folder as songs, otherwise tracks."""
    found: Sequence[Track | AudioFile] = ()
    if isinstance(music, str | os.PathLike):
        paths = [p for p in sorted(Path(music).glob("*")) if p.suffix.lower() in SUFFIXES]
        found = [open_audio_file(path) for path in paths]
        music = (
            []
            if found
            else [*open_dataset(music, sample_rate=settings.sample_rate, needed=settings.sources)]
        )
    songs = [*found, *(song for song in music if set(settings.sources) <= set(song.sources))]
    wrong = sorted({song.sample_rate for song in songs} - {settings.sample_rate})
    wide = sorted({song.channels for song in songs} - {1, 2})
    require(
        len(songs) > 0 and not wrong and not wide,
        f"music must have the sources {', '.join(settings.sources)} or be plain songs, mono or "
        f"stereo, at {settings.sample_rate} Hz",
        {"songs": len(songs), "other rates": wrong, "channels": wide},
        "Choose other songs.",
        ExportError,
    )
    return songs


def _windows(
    song: Track | AudioFile, settings: Settings, num_samples: int, count: int
) -> Iterator[Spectrum]:
    """Yield at most `count` evenly spaced windows that are not silent; short songs are padded.

    A window is (1 + sources, frames, bins, channels): the mixture and the sources of a track.
    """
    last = max(0, song.num_samples - num_samples)
    length = min(num_samples, song.num_samples)
    count = max(1, min(count, song.num_samples // num_samples))  # no sample twice
    for edge in np.linspace(0, song.num_samples, count + 1)[:-1]:
        start = min(last, round(edge))
        read = (
            [song.read(name, start, length) for name in ("mixture", *settings.sources)]
            if isinstance(song, Track)
            else [song.read(start, length)]
        )
        window = np.pad(np.stack(read), ((0, 0), (0, num_samples - length), (0, 0)))
        if float(np.sqrt(np.mean(window[0] ** 2))) <= SILENCE_RMS:
            continue
        if settings.channels == 1:
            window = window.mean(axis=2, keepdims=True)
        window = np.broadcast_to(window, (*window.shape[:2], settings.channels))
        spectra = [analyze(np.ascontiguousarray(audio), settings.transform) for audio in window]
        yield np.stack(spectra)[:, :, : settings.bins].astype(np.complex64)
