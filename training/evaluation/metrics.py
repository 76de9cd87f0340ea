"""The metrics by name.

    score = METRICS["museval"].score(references, estimates, 44100)["vocals"]
    score.values["SDR"]

Every metric takes and returns the same, so that what evaluates need not know which one it has.
Sources are scored together: bsseval's SIR and SAR, and the frames that museval leaves out, depend
on which ones are given. `score_track` therefore scores the accompaniment (the mixture without the
vocals) as museval and the SiSEC evaluations do: apart from the sources that it is the sum of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from training.evaluation import bsseval, sdr
from training.evaluation.scores import (
    ACCOMPANIMENT,
    VOCALS,
    Array,
    Frame,
    SourceScore,
    Values,
    blocks,
)

__all__ = ["METRICS", "Array", "Frame", "Metric", "SourceScore", "Values", "score_track"]

Signals = Mapping[str, Array]


@dataclass(frozen=True)
class Metric:
    """A way to score the estimates of a track.

    Args:
        name: str, its key in `METRICS`.
        title: str, one sentence for reports: metric, windows, aggregation over frames and over
            tracks, silence, version.
        measures: tuple of str, the keys of values; the first is the main one.
        over_tracks: "median" or "mean", how the values of tracks become one.
    """

    name: str
    title: str
    measures: tuple[str, ...]
    over_tracks: Literal["median", "mean"]
    _function: Callable[[Signals, Signals, int], dict[str, SourceScore]] = field(repr=False)

    def score(
        self, references: Signals, estimates: Signals, sample_rate: int
    ) -> dict[str, SourceScore]:
        """Score all sources of a track together.

        Args:
            references: the true sources by name, each of shape (num_samples, channels), all of
                one shape; memory maps are read block by block.
            estimates: the same names and shapes.
            sample_rate: int >= 1, Hz.

        Returns:
            The score of each source, in the order of `references`.

        Raises:
            ValueError: no source, names or shapes that differ, an empty signal, samples that are
                not finite, a bad sample rate.

        Example:
            >>> reference = np.ones((8, 1), np.float32)
            >>> scores = METRICS["usdr"].score({"bass": reference}, {"bass": 0.9 * reference}, 8)
            >>> round(scores["bass"].values["SDR"], 3)
            20.0
        """
        _check_names(references, estimates)
        _check_signals(references, estimates)
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or sample_rate < 1:
            raise ValueError(f"sample_rate must be a whole number of Hz > 0, got {sample_rate!r}")
        return self._function(references, estimates, sample_rate)

    def combine(self, values: Sequence[float | None]) -> float | None:
        """Return the median or mean over tracks; None is left out, None where nothing is left.

        Example:
            >>> METRICS["museval"].combine([1.0, None, 2.0, 9.0])
            2.0
        """
        known = [value for value in values if value is not None]
        if not known:
            return None
        return float(np.median(known) if self.over_tracks == "median" else np.mean(known))


def score_track(
    metric: Metric, references: Signals, estimates: Signals, sample_rate: int
) -> dict[str, SourceScore]:
    """Score a track with or without its accompaniment.

    Where "accompaniment" is among the sources, the others are scored together, and after that
    the accompaniment beside the vocals alone; the vocals' score is the one of this second time,
    as in museval. (The scripts of SiSEC 2016 keep the vocals' first one; the SDR is the same where
    no frame is silent.) Without vocals the accompaniment is scored by itself.

    Args:
        metric: one of `METRICS`.
        references: as for `Metric.score`.
        estimates: as for `Metric.score`.
        sample_rate: int >= 1, Hz.

    Returns:
        The score of each source, in the order of `references`.

    Raises:
        ValueError: as `Metric.score`.
    """
    _check_names(references, estimates)
    names = tuple(references)
    scenarios = [tuple(name for name in names if name != ACCOMPANIMENT)]
    if ACCOMPANIMENT in names:
        scenarios.append(tuple(name for name in names if name in (VOCALS, ACCOMPANIMENT)))
    scores: dict[str, SourceScore] = {}
    for scenario in filter(None, scenarios):
        if scenario == (VOCALS,) and len(scenarios) > 1:
            continue  # the second time scores it
        scores |= metric.score(
            {name: references[name] for name in scenario},
            {name: estimates[name] for name in scenario},
            sample_rate,
        )
    return {name: scores[name] for name in names}


def _check_names(references: Signals, estimates: Signals) -> None:
    if not references or set(references) != set(estimates):
        raise ValueError(
            "references and estimates must have the same sources, one at least: "
            f"got {sorted(references)} and {sorted(estimates)}"
        )


def _check_signals(references: Signals, estimates: Signals) -> None:
    signals = {f"reference {name}": signal for name, signal in references.items()}
    signals |= {f"estimate {name}": signal for name, signal in estimates.items()}
    shapes = {name: np.shape(signal) for name, signal in signals.items()}
    shape = next(iter(shapes.values()))
    if len(set(shapes.values())) > 1 or len(shape) != 2 or 0 in shape:
        raise ValueError(f"signals must share one shape (num_samples, channels): got {shapes}")
    for name, signal in signals.items():
        for part in blocks(slice(0, len(signal))):
            if not np.isfinite(signal[part]).all():
                raise ValueError(
                    f"signals must be finite: {name} is not, in samples {part.start} to {part.stop}"
                )


METRICS = {
    metric.name: metric
    for metric in (
        Metric("usdr", sdr.USDR_TITLE, ("SDR",), "mean", sdr.usdr),
        Metric("active", sdr.ACTIVE_TITLE, ("SDR",), "mean", sdr.active),
        Metric("museval", bsseval.MUSEVAL_TITLE, bsseval.MEASURES, "median", bsseval.museval),
        Metric("bsseval3", bsseval.BSSEVAL3_TITLE, bsseval.MEASURES, "median", bsseval.bsseval3),
        Metric("sisdr", sdr.SISDR_TITLE, ("SI-SDR",), "mean", sdr.sisdr),
    )
}
