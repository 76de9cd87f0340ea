"""The metrics by name.

    score = METRICS["museval"].score(references, estimates, 44100)["vocals"]
    score.values["SDR"]

Every metric takes and returns the same, so that the evaluation need not know which one it has.
Sources are scored together: bsseval's SIR and SAR, and the frames that museval leaves out, depend
on which ones are given. The accompaniment (the mixture without the vocals) is therefore scored as
museval and the SiSEC evaluations do: apart from the sources that it is the sum of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from training.evaluate import EvaluationError
from training.evaluate.metrics import bsseval, usdr
from training.evaluate.metrics.source_score import (
    ACCOMPANIMENT,
    VOCALS,
    Signals,
    SourceScore,
    blocks,
)
from training.evaluate.metrics.usdr import score_each


@dataclass(frozen=True)
class Metric:
    """A way to score the estimates of a track.

    Args:
        name: Its key in `METRICS`.
        title: One sentence for reports: metric, windows, aggregation over frames and over tracks,
            silence, version.
        measures: The keys of the values; the first is the main one.
        over_tracks: How the values of tracks become one.
    """

    name: str
    title: str
    measures: tuple[str, ...]
    over_tracks: Literal["median", "mean"]
    _function: Callable[[Signals, Signals, int], dict[str, SourceScore]] = field(repr=False)

    def score(
        self, references: Signals, estimates: Signals, sample_rate: int
    ) -> dict[str, SourceScore]:
        """Score the sources of a track together, and the accompaniment apart.

        If "accompaniment" is among the sources, the others are scored together, and after that
        the accompaniment beside the vocals alone; the vocals' score is the one of this second
        time, as in museval. (The scripts of SiSEC 2016 keep the vocals' first one; the SDR is the
        same if no frame is silent.) Without vocals the accompaniment is scored by itself.

        Args:
            references: The true sources by name, each of shape (num_samples, channels), all of
                one shape; memory maps are read block by block.
            estimates: The same names and shapes.
            sample_rate: In Hz.

        Returns:
            The score of each source, in the order of `references`.

        Raises:
            EvaluationError: No source, names or shapes that differ, an empty signal, or samples
                that are not finite.

        Example:
            >>> reference = np.ones((8, 1), np.float32)
            >>> scores = METRICS["usdr"].score({"bass": reference}, {"bass": 0.9 * reference}, 8)
            >>> round(scores["bass"].values["SDR"], 3)
            20.0
        """
        if not references or set(references) != set(estimates):
            raise EvaluationError(
                "references and estimates must have the same sources, one at least; received "
                f"{sorted(references)} and {sorted(estimates)}."
            )
        signals = {f"reference {name}": signal for name, signal in references.items()}
        signals |= {f"estimate {name}": signal for name, signal in estimates.items()}
        shapes = {name: np.shape(signal) for name, signal in signals.items()}
        shape = next(iter(shapes.values()))
        if len(set(shapes.values())) > 1 or len(shape) != 2 or 0 in shape:
            raise EvaluationError(
                f"signals must share one shape (num_samples, channels); received {shapes}."
            )
        for name, signal in signals.items():
            for part in blocks(0, len(signal)):
                if not np.isfinite(signal[part]).all():
                    raise EvaluationError(
                        f"signals must be finite; received NaN or infinity in {name}, between "
                        f"samples {part.start} and {part.stop}."
                    )
        together = [[name for name in references if name != ACCOMPANIMENT]]
        if ACCOMPANIMENT in references:
            together.append([name for name in references if name in (VOCALS, ACCOMPANIMENT)])
            if together[0] in ([], [VOCALS]):
                del together[0]  # the second time scores them
        scores: dict[str, SourceScore] = {}
        for names in together:
            true, estimated = (
                {name: side[name] for name in names} for side in (references, estimates)
            )
            scores |= self._function(true, estimated, sample_rate)
        return {name: scores[name] for name in references}


METRICS = {
    metric.name: metric
    for metric in (
        Metric("usdr", usdr.USDR_TITLE, ("SDR",), "mean", partial(score_each, "SDR", usdr.usdr)),
        Metric(
            "active", usdr.ACTIVE_TITLE, ("SDR",), "mean", partial(score_each, "SDR", usdr.active)
        ),
        Metric("museval", bsseval.MUSEVAL_TITLE, bsseval.MEASURES, "median", bsseval.museval),
        Metric("bsseval3", bsseval.BSSEVAL3_TITLE, bsseval.MEASURES, "median", bsseval.bsseval3),
        Metric(
            "sisdr",
            usdr.SISDR_TITLE,
            ("SI-SDR",),
            "mean",
            partial(score_each, "SI-SDR", usdr.sisdr),
        ),
    )
}
