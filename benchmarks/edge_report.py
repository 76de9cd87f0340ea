"""The figures of bench_edge and how they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEVICE = "device model, `mmdense separate`"
KERAS = "Spleeter-shaped, Keras"
INT8 = "Spleeter-shaped, int8 TFLite"
CASES = (DEVICE, KERAS, INT8)

AIM_RTF, AIM_RATIO, AIM_SHARE = 0.016, 3.0, 0.5


@dataclass(frozen=True)
class Round:
    """What one round measured, all with one thread on one core.

    Args:
        cpu_s: CPU seconds of each case from file to files, without loading.
        load_s: CPU seconds of each case until it is ready.
        network_s: CPU seconds of one run of the device model's network alone.
        peak_s: CPU seconds of the bare convolution.
    """

    cpu_s: Mapping[str, float]
    load_s: Mapping[str, float]
    network_s: float
    peak_s: float


@dataclass(frozen=True)
class Work:
    """What the rounds were about.

    Args:
        seconds: of audio.
        window_s: seconds of audio that one run of the network yields.
        window_macs: multiply-adds of one run, its context included.
        peak_macs: multiply-adds of the bare convolution.
        spleeter_macs: multiply-adds of one Spleeter-shaped network for 512 frames.
    """

    seconds: float
    window_s: float
    window_macs: int
    peak_macs: int
    spleeter_macs: int


Spread = tuple[float, float, float]


def spread(values: Sequence[float]) -> Spread:
    """Returns the least, the median and the largest value."""
    return min(values), statistics.median(values), max(values)


def figures(work: Work, rounds: Sequence[Round]) -> dict[str, Any]:
    """Returns what the tables show, as JSON takes it.

    Args:
        work: what was done.
        rounds: at least one.

    Returns:
        cpu_rtf, load_s and ratio by case; ratio is how many times the device model's CPU time a
        case took in the same round. peak_gmac_s, network_gmac_s, network_rtf, peak_share and
        network_share, of the time from file to files. All are least, median and largest.
        model_gmac_per_s and spleeter_gmac_per_s: billions of multiply-adds for a second of audio.
    """
    peak = [work.peak_macs / r.peak_s / 1e9 for r in rounds]
    network = [work.window_macs / r.network_s / 1e9 for r in rounds]
    rtf = [r.network_s / work.window_s for r in rounds]
    whole = [r.cpu_s[DEVICE] / work.seconds for r in rounds]
    return {
        "cpu_rtf": {c: spread([r.cpu_s[c] / work.seconds for r in rounds]) for c in CASES},
        "load_s": {c: spread([r.load_s[c] for r in rounds]) for c in CASES},
        "ratio": {c: spread([r.cpu_s[c] / r.cpu_s[DEVICE] for r in rounds]) for c in CASES},
        "peak_gmac_s": spread(peak),
        "network_gmac_s": spread(network),
        "network_rtf": spread(rtf),
        "peak_share": spread([one / most for one, most in zip(network, peak, strict=True)]),
        "network_share": spread([one / all_ for one, all_ in zip(rtf, whole, strict=True)]),
        "model_gmac_per_s": work.window_macs / work.window_s / 1e9,
        "spleeter_gmac_per_s": 4 * work.spleeter_macs / (512 * 1024 / 44100) / 1e9,
    }


def tables(found: Mapping[str, Any]) -> str:
    """Returns the figures as two Markdown tables and a line for each aim.

    Args:
        found: what `figures` returns.
    """
    work = {DEVICE: found["model_gmac_per_s"], KERAS: found["spleeter_gmac_per_s"]}
    work[INT8] = work[KERAS]
    lines = [
        "| four stems, file to files | GMAC per s of audio | CPU RTF: min, median, max | "
        "times the device model | loading, CPU s |",
        "|---|---|---|---|---|",
    ]
    for case in CASES:
        lines.append(
            f"| {case} | {work[case]:.2f} | {_three(found['cpu_rtf'][case], '.4f')} | "
            f"{_three(found['ratio'][case], '.2f')} | {found['load_s'][case][1]:.2f} |"
        )
    lines += ["", "| inside the device model | min, median, max |", "|---|---|"]
    lines += [
        f"| bare int8 convolution, GMAC/s | {_three(found['peak_gmac_s'], '.0f')} |",
        f"| its network, GMAC/s | {_three(found['network_gmac_s'], '.0f')} |",
        f"| share of the convolution's peak | {_three(found['peak_share'], '.1%')} |",
        f"| its network alone, CPU RTF | {_three(found['network_rtf'], '.4f')} |",
        f"| its network's share of the time | {_three(found['network_share'], '.1%')} |",
    ]
    return "\n".join([*lines, "", *_aims(found)])


def _three(values: Spread, form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def _aims(found: Mapping[str, Any]) -> list[str]:
    rtf, ratio = found["cpu_rtf"][DEVICE][1], found["ratio"][KERAS][1]
    share = found["peak_share"][1]
    reached = {True: "reached", False: "not reached"}
    return [
        f"CPU RTF at most {AIM_RTF}: {rtf:.4f}, {reached[rtf <= AIM_RTF]}.",
        f"{AIM_RATIO:g} times as fast as the network of Spleeter's shape: {ratio:.2f}, "
        f"{reached[ratio >= AIM_RATIO]}.",
        f"At least {AIM_SHARE:.0%} of the convolution's peak: {share:.1%}, "
        f"{reached[share >= AIM_SHARE]}.",
    ]
