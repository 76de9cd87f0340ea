"""The number formats of an exported model and their thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keras_mmdense.errors import ExportError, require


@dataclass(frozen=True)
class Precision:
    """One number format.

    Args:
        name: As in the contract.
        weight_bytes: Bytes of a stored weight.
        music: Whether it needs music to measure the ranges of the inner values.
        depth_to_space: Whether up-sampling is a 1x1 convolution and depth-to-space; else a
            transposed convolution, which the quantizer of whole graphs knows.
        depthwise_norms: Whether batch normalization before ReLU becomes a depthwise convolution;
            with float values and 8-bit weights that would leave the fast path.
        parts: Whether convolutions read the parts of a concatenation one by one; their sum would
            stay out of a quantized graph.
        folded_maps: Convolutions to at most so many maps compute several bins at once; 0: none.
        thresholds: Least `snr_db` against Keras per source, largest `max_error` as a share of the
            largest value, largest `sdr_loss_db` against float32 on real music.
    """

    name: str
    weight_bytes: int
    music: bool
    depth_to_space: bool
    depthwise_norms: bool
    parts: bool
    folded_maps: int
    thresholds: Mapping[str, float]

    def failures(self, figures: Mapping[str, float]) -> list[str]:
        """Return messages on the figures that miss their thresholds; NaN always does."""
        missed = []
        for name, limit in self.thresholds.items():
            value, least = figures.get(name, limit), name == "snr_db"
            if not (value >= limit if least else value <= limit):
                missed.append(
                    f"{self.name}: {name} must be at {'least' if least else 'most'} {limit:g}; "
                    f"received {value:.4g}"
                )
        return missed


PRECISIONS = {
    p.name: p
    for p in (
        Precision("float32", 4, False, True, True, True, 4, {"snr_db": 80, "max_error": 1e-4}),
        Precision("float16", 2, False, True, True, True, 4, {"snr_db": 45, "sdr_loss_db": 0.01}),
        Precision("dynamic", 1, False, True, False, False, 0, {"snr_db": 25, "sdr_loss_db": 0.1}),
        Precision(
            "int8-weights", 1, False, True, True, False, 0, {"snr_db": 25, "sdr_loss_db": 0.1}
        ),
        Precision("int8", 1, True, False, True, False, 6, {"snr_db": 18, "sdr_loss_db": 0.1}),
        Precision("int16x8", 1, True, False, True, False, 0, {"snr_db": 20, "sdr_loss_db": 0.1}),
    )
}
FIGURES = ("snr_db", "max_error", "sdr_loss_db")


def choose(
    precision: str | Sequence[str], thresholds: Mapping[str, Mapping[str, float]] | None = None
) -> list[Precision]:
    """Return the precisions asked for, with the given thresholds in place of the defaults.

    Raises:
        ExportError: No precision is given, one is unknown or given twice, or a figure is unknown.
    """
    names, given = [precision] if isinstance(precision, str) else list(precision), thresholds or {}
    require(
        0 < len(names) == len(set(names) & set(PRECISIONS)),
        f"precision must be one or several of {', '.join(PRECISIONS)}",
        names,
        "Name each once.",
        ExportError,
    )
    unknown = set(given) - set(PRECISIONS) | {f for t in given.values() for f in t} - {*FIGURES}
    require(
        not unknown,
        f"thresholds must be {{precision: {{figure: number}}}}, figures {', '.join(FIGURES)}",
        sorted(unknown),
        "Leave these out.",
        ExportError,
    )
    chosen = [PRECISIONS[name] for name in names]
    return [replace(p, thresholds={**p.thresholds, **given.get(p.name, {})}) for p in chosen]
