"""What was done to each song, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mmdense_edge.errors import printable


@dataclass(frozen=True)
class StemReport:
    """One stem as written.

    Args:
        source: its name.
        file: its path.
        level_dbfs: RMS level in dB of full scale; None if silent.
        clipped: samples that were beyond full scale.
        scored: True where there was a reference.
        sdr_db: SDR against the reference; None if not scored or the reference is silent.
        mixture_sdr_db: SDR of doing nothing, the mixture taken for the stem.
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
        song: its path.
        error: what went wrong; None if nothing did.
        sample_rate: in Hz.
        channels: 1 or 2.
        num_samples: length of the song and of each stem.
        seconds: taken from opening the song to closing its stems.
        stems: what was written.
        picture: path of the spectrogram, if one was asked for.
    """

    song: str
    error: str | None = None
    sample_rate: int = 0
    channels: int = 0
    num_samples: int = 0
    seconds: float = 0.0
    stems: tuple[StemReport, ...] = ()
    picture: str | None = None

    @property
    def duration_seconds(self) -> float:
        """Length of the song in seconds."""
        return self.num_samples / self.sample_rate if self.sample_rate else 0.0

    @property
    def real_time_factor(self) -> float | None:
        """Seconds taken per second of the song: below 1 is faster than it plays."""
        return self.seconds / self.duration_seconds if self.num_samples else None

    def as_json(self) -> dict[str, Any]:
        """Returns the report as values that JSON has."""
        return {
            **asdict(self),
            "duration_seconds": self.duration_seconds,
            "real_time_factor": self.real_time_factor,
        }


def clock(seconds: float) -> str:
    """Returns a time as minutes and seconds, with hours where there are any.

    Example:
        >>> clock(75), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def table(report: SongReport) -> str:
    """Returns a report as lines for a terminal."""
    if report.error is not None:
        return f"{printable(report.song)}: FAILED"
    lines = [
        f"{printable(report.song)}: {clock(report.duration_seconds)} long, "
        f"{report.seconds:.2f} s taken, real-time factor {report.real_time_factor:.3f}"
    ]
    scored = any(stem.scored for stem in report.stems)
    rows = [_HEADER] + [_row(stem) for stem in report.stems]
    rows = rows if scored else [row[:3] + row[5:] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for name, *cells, file in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:]))
        lines.append("  ".join(["", name.ljust(widths[0]), *numbers, file]))
    if report.picture is not None:
        lines.append(f"  spectrogram: {printable(report.picture)}")
    return "\n".join(lines)


_HEADER = ("stem", "RMS dBFS", "clipped", "SDR dB", "SDR dB of mixture", "file")


def _row(stem: StemReport) -> tuple[str, ...]:
    level = "silent" if stem.level_dbfs is None else f"{stem.level_dbfs:.1f}"
    scores = [
        "" if not stem.scored else "n/a" if value is None else f"{value:.2f}"
        for value in (stem.sdr_db, stem.mixture_sdr_db)
    ]
    return (stem.source, level, str(stem.clipped), *scores, printable(stem.file))
