"""What was done to each song, as a table and as JSON."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from textwrap import indent
from typing import Any

from mmdense_edge.errors import printable


@dataclass(frozen=True)
class StemReport:
    """One stem as written.

    Args:
        source: Its name.
        file: Its path.
        level_dbfs: RMS level in dBFS; None if silent.
        clipped: Samples that exceeded full scale.
        scored: True if there was a reference.
        sdr_db: SDR against the reference; None if not scored or the reference is silent.
        mixture_sdr_db: SDR of the unprocessed mixture (baseline).
    """

    source: str
    file: str
    level_dbfs: float | None
    clipped: int
    scored: bool = False
    sdr_db: float | None = None
    mixture_sdr_db: float | None = None


@dataclass(frozen=True)
class SongReport:
    """One song, separated or failed.

    Args:
        song: Its path.
        error: What went wrong; None if nothing did.
        sample_rate: In Hz.
        channels: 1 to 64.
        num_samples: Length of the song and of each stem.
        seconds: Time from opening the song to closing its stems.
        stems: What was written.
        picture: Path of the spectrogram, if one was drawn.
        warnings: Messages for the user.
        gain_db: Gain of the stems relative to the song; below 0 if they were made quieter.
        null_test: The largest difference between the sum of the written stems and the song, in
            steps of `null_test_bits` bits; None if the stems need not add up.
        null_test_bits: The bit depth of the stems; 24 for floats.
        picture_error: Why a requested spectrogram was not drawn; None if nothing failed.
    """

    song: str
    error: str | None = None
    sample_rate: int = 0
    channels: int = 0
    num_samples: int = 0
    seconds: float = 0.0
    stems: tuple[StemReport, ...] = ()
    picture: str | None = None
    warnings: tuple[str, ...] = ()
    gain_db: float = 0.0
    null_test: float | None = None
    null_test_bits: int = 0
    picture_error: str | None = None

    @property
    def duration_seconds(self) -> float:
        """Length of the song in seconds."""
        return self.num_samples / self.sample_rate if self.sample_rate else 0.0

    @property
    def real_time_factor(self) -> float | None:
        """Processing time per second of the song; below 1 is faster than real time."""
        return self.seconds / self.duration_seconds if self.num_samples else None

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON-serializable values."""
        return {
            **asdict(self),
            "duration_seconds": self.duration_seconds,
            "real_time_factor": self.real_time_factor,
        }


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, and hours if there are any.

    Example:
        >>> clock(75), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Return rows of text as lines of aligned columns; columns in `left` are left-aligned.

    Example:
        >>> print(aligned([("a", "b"), ("long", "1")]))
        a     b
        long  1
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        for number in left:
            cells[number] = row[number].ljust(widths[number])
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def table(report: SongReport) -> str:
    """Return a report as lines for a terminal."""
    if report.error is not None:
        return f"{printable(report.song)}: FAILED"
    scored = any(stem.scored for stem in report.stems)
    rows = [("stem", "RMS dBFS", "clipped", "SDR dB", "SDR dB of mixture", "file")]
    for stem in report.stems:
        level = "silent" if stem.level_dbfs is None else f"{stem.level_dbfs:.1f}"
        sdr, baseline = (
            "" if not stem.scored else "n/a" if value is None else f"{value:.2f}"
            for value in (stem.sdr_db, stem.mixture_sdr_db)
        )
        rows.append((stem.source, level, str(stem.clipped), sdr, baseline, printable(stem.file)))
    shown = [row if scored else (*row[:3], row[5]) for row in rows]
    lines = [
        f"{printable(report.song)}: {clock(report.duration_seconds)} long, "
        f"separated in {report.seconds:.2f} s, real-time factor {report.real_time_factor:.3f}",
        indent(aligned(shown, left=(0, -1)), "  "),
    ]
    if report.null_test is not None:
        lines.append(
            f"  null test: the stems add up to the song within {report.null_test:.2f} steps of "
            f"{report.null_test_bits} bits"
        )
    if report.gain_db < 0:
        lines.append(f"  stems attenuated by {-report.gain_db:.2f} dB to avoid clipping")
    if report.picture is not None:
        lines.append(f"  spectrogram: {printable(report.picture)}")
    lines += [f"  warning: {printable(warning)}" for warning in report.warnings]
    return "\n".join(lines)
