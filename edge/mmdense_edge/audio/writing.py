"""Write the stems of one song to files, at the requested bit depth and so that they add up."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import soundfile as sf

from mmdense_edge.audio import AudioInfo
from mmdense_edge.audio.reading import BLOCK
from mmdense_edge.errors import AudioError, refuse_if
from mmdense_edge.signal.stft import Array, Real

BIT_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}

# The highest sample rate in Hz and the most channels. Ogg: libsndfile crashes beyond that rate.
_LIMITS = {"wav": (1 << 31, 1024), "flac": (655350, 8), "ogg": (192000, 64)}

RIFF_LIMIT = (1 << 32) - (1 << 16)
_WAV_TAG_BYTES = 2000

# Stems have the input's bit depth if the output format knows it. Lossy and 8-bit files get 16
# bits; separation computes in float32, so 64-bit floats get 32.
_SUBTYPES = {
    "PCM_24": "PCM_24",
    "ALAC_20": "PCM_24",
    "ALAC_24": "PCM_24",
    "PCM_32": "PCM_32",
    "ALAC_32": "PCM_32",
    "FLOAT": "FLOAT",
    "DOUBLE": "FLOAT",
}
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": None, "VORBIS": None}


@dataclass(frozen=True)
class StemForm:
    """The form of a song's stems.

    Args:
        file_format: "wav", "flac" or "ogg".
        subtype: Libsndfile's name of the sample format.
    """

    file_format: str
    subtype: str

    @property
    def bits(self) -> int | None:
        """Bits of an integer sample; None for floats and lossy formats."""
        return _BITS[self.subtype]

    def num_bytes(self, info: AudioInfo) -> int:
        """Return the size of a stem's samples in a WAV file of this depth."""
        return info.num_samples * info.channels * ((self.bits or 32) // 8)


def stem_form(info: AudioInfo, file_format: str, bit_depth: str | None = None) -> StemForm:
    """Return the form of a song's stems; by default with the song's bit depth, if it has one.

    Args:
        info: Form of the song.
        file_format: "wav", "flac" or "ogg".
        bit_depth: "16", "24" or "32f"; defaults to the song's.

    Raises:
        AudioError: The format does not support the song's sample rate or number of channels.

    Example:
        >>> stem_form(AudioInfo(44100, 2, 1000, "PCM_24"), "wav").subtype
        'PCM_24'
        >>> stem_form(AudioInfo(44100, 2, 1000, "VORBIS"), "wav").subtype
        'PCM_16'
    """
    rate, channels = _LIMITS[file_format]
    refuse_if(
        info.sample_rate > rate or info.channels > channels,
        f"{file_format} files have at most {rate} Hz and {channels} channels; received "
        f"{info.sample_rate} Hz and {info.channels}. Use --format wav",
        AudioError,
    )
    if file_format == "ogg":
        return StemForm(file_format, "VORBIS")
    wanted = BIT_DEPTHS[bit_depth] if bit_depth else _SUBTYPES.get(info.subtype, "PCM_16")
    if file_format == "flac" and wanted != "PCM_16":
        wanted = "PCM_24"
    return StemForm(file_format, wanted)


class StemFiles:
    """Write the stems of one song, each to its file.

    In integer formats, samples are rounded to the nearest step without dither, so that sums hold;
    samples beyond full scale are clamped and counted. Float files keep them. With `rest` or
    `exact`, integer files add up to the mixture exactly: steps lost by rounding and clipping are
    added to the loudest stem that has headroom.

    Args:
        paths: The file of each stem; leaving the context closes them all.
        info: Form of the song; its tags are copied as far as the format supports them.
        form: Form of the stems.
        rest: Name of the stem that is the mixture minus all others; in integer formats it is
            computed in whole steps.
        exact: Whether the stems together make up the mixture.
        gain: Gain of the files relative to stems and mixture.

    Raises:
        AudioError: A file cannot be written.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        info: AudioInfo,
        form: StemForm,
        *,
        rest: str | None = None,
        exact: bool = False,
        gain: float = 1.0,
    ) -> None:
        self._form, self._rest, self._exact, self._gain = form, rest, exact, gain
        self._paths, self._info = paths, info
        self._sample_bytes = form.num_bytes(replace(info, num_samples=1))
        self._squares = dict.fromkeys(paths, 0.0)
        self._unwritten: dict[str, list[Array]] = {name: [] for name in paths}
        self._written = 0  # samples
        self.clipped = dict.fromkeys(paths, 0)
        self.peak = 0.0
        self.num_samples = 0
        tags = {t: text.encode("utf-8", "replace").split(b"\0")[0] for t, text in info.tags.items()}
        # libsndfile drops all tags of a WAV file if one is long.
        most = _WAV_TAG_BYTES if form.file_format == "wav" else math.inf
        self.lost_tags = [tag for tag, text in tags.items() if len(text) > most]
        # RIFF cannot count beyond 4 GiB; RF64 is the same file with wider counters.
        wide = form.file_format == "wav" and form.num_bytes(info) > RIFF_LIMIT
        self._container = "RF64" if wide else form.file_format.upper()
        self._files: dict[str, sf.SoundFile] = {}
        with self._reported():
            for name, path in paths.items():
                self._files[name] = sf.SoundFile(
                    _name(path), "w", info.sample_rate, info.channels, form.subtype,
                    format=self._container,
                )  # fmt: skip
                for tag, text in tags.items():
                    if text and tag not in self.lost_tags:
                        setattr(self._files[name], tag, text.decode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the files and, after no error, check that they are whole."""
        with self._reported():
            if raised[0] is None:
                self._write_blocks()
            for file in self._files.values():
                file.close()
            for name, path in self._paths.items():
                refuse_if(
                    raised[0] is None and sf.info(_name(path)).frames != self.num_samples,
                    f"{name} was not written completely. Is there space left?",
                    AudioError,
                )

    def write(self, stems: Mapping[str, Real], mixture: Real) -> None:
        """Append a block to each file.

        Args:
            stems: The next samples of each stem, shape (samples, channels), all equally long.
            mixture: The next samples of the mixture.
        """
        bits = self._form.bits
        blocks: dict[str, Array] = {}
        if bits:
            blocks = self._in_steps(stems, mixture, bits)
        else:
            blocks = {name: (stem * self._gain).astype(np.float32) for name, stem in stems.items()}
            if self._rest is not None:
                del blocks[self._rest]
                others = sum(block.astype(np.float64) for block in blocks.values())
                blocks[self._rest] = (mixture * self._gain - others).astype(np.float32)
            self.peak = max(self.peak, *(float(np.abs(block).max()) for block in blocks.values()))
        self.num_samples += len(mixture)
        refuse_if(
            self._container == "WAV" and self.num_samples * self._sample_bytes > RIFF_LIMIT,
            "the song is longer than its header states, and a stem would exceed the 4 GiB of a "
            "WAV file. Use --format flac",
            AudioError,
        )
        for name, block in blocks.items():
            values = block.ravel()
            full = 1 << (bits - 1) if bits else 1
            self._squares[name] += float(np.vdot(values, values)) / full**2
            if bits == 16:
                block = block.astype(np.int16)
            elif bits:
                block = block.astype(np.int32) << (32 - bits)
            self._unwritten[name].append(block)
        if self.num_samples - self._written >= BLOCK:
            with self._reported():
                self._write_blocks()

    def _write_blocks(self) -> None:
        """Write what came since the last time; a call for each short block would cost more."""
        for name, blocks in self._unwritten.items():
            block = np.concatenate(blocks) if blocks else np.zeros((0, self._info.channels))
            # libsndfile takes large Ogg blocks on its stack.
            for first in range(0, len(block), BLOCK):
                self._files[name].write(block[first : first + BLOCK])
            blocks.clear()
        self._written = self.num_samples

    def level_dbfs(self, name: str) -> float | None:
        """Return the RMS level of a stem as written, in dBFS; None if silent."""
        squares, values = self._squares[name], self.num_samples * self._info.channels
        return float(10 * np.log10(squares / values)) if squares else None

    def _in_steps(self, stems: Mapping[str, Real], mixture: Real, bits: int) -> dict[str, Array]:
        """Return the stems in whole steps, as floats."""
        full = 1 << (bits - 1)
        names = sorted(stems, key=lambda name: name == self._rest)  # the rest comes last
        dtype = np.float64 if bits > 24 else None  # single precision holds 24 bits
        adds_up = self._exact or self._rest is not None
        if adds_up:
            target = np.rint(mixture * (self._gain * full))
        steps: dict[str, Array] = {}
        for name in names:
            if name == self._rest:
                wanted = target - np.sum([*steps.values()], axis=0, dtype=np.float64)
            else:
                wanted = np.multiply(stems[name], self._gain * full, dtype=dtype)
                np.rint(wanted, out=wanted)
            steps[name] = wanted
            if wanted.min() < -full or wanted.max() > full - 1:
                steps[name] = np.clip(wanted, -full, full - 1)
                self.clipped[name] += int(np.count_nonzero(wanted != steps[name]))
        if adds_up:
            # The difference goes to the loudest stem that has headroom, sample by sample.
            every = np.stack([*steps.values()], dtype=np.float64)
            missing = np.clip(target, -full, full - 1) - every.sum(axis=0)
            order = np.argsort(-np.abs(every), axis=0, kind="stable")
            for place in order[:, None] if missing.any() else ():
                before = np.take_along_axis(every, place, axis=0)
                after = np.clip(before + missing, -full, full - 1)
                np.put_along_axis(every, place, after, axis=0)
                missing -= (after - before)[0]
            steps = dict(zip(names, every, strict=True))
        return steps

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sf.LibsndfileError as error:
            raise AudioError(
                f"cannot write the stems ({error.error_string}). Is there space left?"
            ) from error


def _name(path: Path) -> str | bytes:
    # soundfile cannot encode names that are not valid text; the operating system can.
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)
