"""The difference between an exported file and Keras: figures per precision, and the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdense_edge.model.interpreter import Magnitude
from mmdense_edge.signal.stft import Spectrum

from keras_mmdense.plot import parity
from keras_mmdense.plot.style import attempt

SILENT_SHARE = 1e-6  # of the mixture's energy: below it a window does not score a source


# The figures of one file, as the report in JSON has them:
#   precision        number format
#   max_error        largest difference of an output, as a share of the largest value (or of 1)
#   snr_db           Keras' estimates against the differences, by source
#   sdr_db           median SDR of the windows against the true sources, by source; empty without
#                    stems
#   float_sdr_db     the same of Keras
#   size_bytes       the file's size
#   predicted_bytes  weights times their size
#   probe            what the file's own process found, see `probe` in `convert`
#   summary          see `summary`
Figures = Mapping[str, Any]


def summary(figures: Figures) -> dict[str, float]:
    """Return the figures that thresholds are for and that the contract carries."""
    snr, sdr = figures["snr_db"], figures["sdr_db"]
    numbers = {
        "max_error": figures["max_error"],
        "snr_db": min(snr.values()),
        **{f"snr_db_{name}": value for name, value in snr.items()},
    }
    if sdr:
        losses = {name: figures["float_sdr_db"][name] - sdr[name] for name in sdr}
        numbers["sdr_loss_db"] = max(losses.values())
        numbers |= {f"sdr_loss_db_{name}": value for name, value in losses.items()}
    return {name: float(f"{value:.6g}") for name, value in numbers.items()}


def compare(
    found: Mapping[str, Magnitude],
    expected: Mapping[str, Magnitude],
    mixture: Spectrum,
    sources: Mapping[str, Spectrum],
    head: str,
) -> dict[str, Any]:
    """Compare a file's outputs with Keras' on the same windows.

    Args:
        found: The file's outputs by source, (windows, frames, bins, channels).
        expected: Keras' outputs.
        mixture: Spectra of the windows.
        sources: True spectra by source, or nothing.
        head: "mask" or "magnitude": what the outputs are.

    Returns:
        max_error, snr_db, sdr_db and float_sdr_db; see `Figures`.
    """
    scale = max(1.0, max(float(np.abs(value).max()) for value in expected.values()))
    magnitude = np.abs(mixture)
    # the estimates have the mixture's phase
    phase = np.divide(mixture, magnitude, out=np.zeros_like(mixture), where=magnitude > 0)
    largest = float(np.max([np.abs(found[name] - expected[name]) for name in expected]) / scale)
    snr, sdr, float_sdr = (dict[str, float]() for _ in range(3))
    for name, value in expected.items():
        factor = magnitude if head == "mask" else 1
        estimates = found[name] * factor, value * factor
        kept, lost = _power(estimates[1]).sum(), _power(estimates[0] - estimates[1]).sum()
        # outputs that are the same to the last bit agree, also where both are silent
        snr[name] = round(float(10 * np.log10((kept + 1e-30) / lost)), 2) if lost else 300.0
        if name not in sources:
            continue
        power = _power(sources[name])
        sounding = power > SILENT_SHARE * _power(mixture)
        if sounding.any():
            for estimate, medians in zip(estimates, (sdr, float_sdr), strict=True):
                missed = np.maximum(_power(estimate * phase - sources[name]), 1e-30)
                ratios = power[sounding] / missed[sounding]
                medians[name] = float(np.median(10 * np.log10(ratios)))
    return {"max_error": largest, "snr_db": snr, "sdr_db": sdr, "float_sdr_db": float_sdr}


def _power(x: Any) -> Any:
    """Return the energy of each window."""
    return np.square(np.abs(x), dtype=np.float64).sum(axis=(1, 2, 3))


def write_report(folder: Path, name: str, figures: Sequence[Figures]) -> None:
    """Write `<name>.parity.json` and `.md` into a folder, and a picture if it can be drawn."""
    text = json.dumps(figures, indent=1)
    (folder / f"{name}.parity.json").write_text(text + "\n", "utf-8")
    sources = list(figures[0]["snr_db"])
    head = [
        *("precision", "largest error"),
        *(f"SNR {s}, dB" for s in sources),
        *(f"SDR {s} (lost), dB" for s in figures[0]["sdr_db"]),
        *("size, kB (weights alone)", "CPU s per s", "peak memory, MB", "delegates"),
    ]
    rows = [head, ["---"] * len(head)]
    for f in figures:
        probe = f["probe"]
        rows.append([
            *(f["precision"], f"{f['max_error']:.1e}"),
            *(f"{f['snr_db'][s]:.1f}" for s in sources),
            *(f"{v:.2f} ({f['float_sdr_db'][s] - v:+.3f})" for s, v in f["sdr_db"].items()),
            f"{f['size_bytes'] / 1e3:.0f} ({f['predicted_bytes'] / 1e3:.0f})",
            *(f"{probe['cpu_rtf']:.4f}", f"{probe['peak_mb']:.0f}", str(probe["delegates"])),
        ])  # fmt: skip
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    report = (
        f"# Parity of {name}\n\n{table}\n\n"
        "SNR: Keras' estimates against the file's differences. SDR: median over windows of real "
        "music, spectra with the mixture's phase; lost: against Keras. CPU s per s: CPU seconds of "
        "one thread per second of audio, network alone. Peak memory: interpreter, NumPy and model "
        "in a process of their own.\n"
    )
    (folder / f"{name}.parity.md").write_text(report, "utf-8")
    attempt(parity, figures, folder / f"{name}.parity")
