"""The metrics by name.

    score = METRICS["museval"].score(references, estimates, 44100)["vocals"]
    score.values["SDR"]

All metrics have the same arguments and results. Sources are scored together: bsseval's SIR and SAR,
and the frames that museval leaves out, depend on which ones are given. The accompaniment (the
mixture without the vocals) is therefore scored as in museval and the SiSEC evaluations: apart from
the sources whose sum it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

from keras_mmdense.errors import require
from training.evaluate.metrics import bsseval, usdr
from training.evaluate.metrics.source_score import (
    ACCOMPANIMENT,
    VOCALS,
    Signals,
    SourceScore,
    blocks,
)


@dataclass(frozen=True)
class Metric:
    """A way to score the estimates of a track.

    Args:
        title: One sentence for reports: metric, windows, aggregation over frames and tracks,
            silence, version.
        measures: The keys of the values; the first is the main one.
        over_tracks: How the values of tracks are aggregated.
    """

    title: str
    measures: tuple[str, ...]
    over_tracks: Literal["median", "mean"]
    _function: Callable[[Signals, Signals, int], dict[str, SourceScore]] = field(repr=False)

    def score(
        self, references: Signals, estimates: Signals, sample_rate: int
    ) -> dict[str, SourceScore]:
        """Score the sources of a track together, and the accompaniment separately.

        If "accompaniment" is among the sources, the other sources are scored together first, then
        the accompaniment together with the vocals. The second score of the vocals is returned, as
        in museval. (The scripts of SiSEC 2016 keep the first; the SDR is the same if no frame is
        silent.) Without vocals the accompaniment is scored alone.

        Args:
            references: The true sources by name, all of one shape (num_samples, channels); memory
                maps are read block by block.
            estimates: The same names and shapes.
            sample_rate: In Hz.

        Returns:
            The score of each source, in the order of `references`.

        Raises:
            SettingsError: There is no source, names or shapes differ, a signal is empty, or
                samples are not finite.

        Example:
            >>> reference = np.ones((8, 1), np.float32)
            >>> scores = METRICS["usdr"].score({"bass": reference}, {"bass": 0.9 * reference}, 8)
            >>> round(scores["bass"].values["SDR"], 3)
            20.0
        """
        require(
            bool(references) and set(references) == set(estimates),
            "references and estimates must have the same sources, at least one",
            (sorted(references), sorted(estimates)),
            "",
        )
        sides = {"reference": references, "estimate": estimates}
        signals = {f"{side} {name}": x for side, of in sides.items() for name, x in of.items()}
        shapes = {name: np.shape(signal) for name, signal in signals.items()}
        shape, *others = set(shapes.values())
        require(
            not others and len(shape) == 2 and 0 not in shape,
            "signals must share one shape (num_samples, channels)",
            shapes,
            "",
        )
        for name, signal in signals.items():
            for part in blocks(0, len(signal)):
                require(
                    bool(np.isfinite(signal[part]).all()),
                    "signals must be finite",
                    f"NaN or infinity in {name}, samples {part.start} to {part.stop}",
                    "",
                )
        groups = [[name for name in references if name != ACCOMPANIMENT]]
        if ACCOMPANIMENT in references:
            last = [name for name in references if name in (VOCALS, ACCOMPANIMENT)]
            groups = [group for group in groups if not set(group) <= {VOCALS}] + [last]
        scores: dict[str, SourceScore] = {}
        for group in groups:
            true, estimated = ({name: side[name] for name in group} for side in sides.values())
            scores |= self._function(true, estimated, sample_rate)
        return {name: scores[name] for name in references}


METRICS = {
    "usdr": Metric(usdr.USDR_TITLE, ("SDR",), "mean", partial(usdr.score_each, "SDR", usdr.usdr)),
    "active": Metric(
        usdr.ACTIVE_TITLE, ("SDR",), "mean", partial(usdr.score_each, "SDR", usdr.active)
    ),
    "museval": Metric(bsseval.MUSEVAL_TITLE, bsseval.MEASURES, "median", bsseval.museval),
    "bsseval3": Metric(bsseval.BSSEVAL3_TITLE, bsseval.MEASURES, "median", bsseval.bsseval3),
    "sisdr": Metric(
        usdr.SISDR_TITLE, ("SI-SDR",), "mean", partial(usdr.score_each, "SI-SDR", usdr.sisdr)
    ),
}

# Who computes a metric: this project or the package museval.
ENGINES = {
    "own": METRICS,
    "museval": {
        name: replace(
            METRICS[name],
            title=bsseval.PACKAGE_TITLE % (form, *bsseval.SECONDS[name], average),
            _function=partial(bsseval.by_package, name),
        )
        for name, form, average in (
            ("museval", "BSSEval v4", "median"),
            ("bsseval3", "BSSEval v3 (images)", "mean"),
        )
    },
}
