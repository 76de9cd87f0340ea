"""Estimates the real-time factor on a Raspberry Pi 4 and 5 from a model's multiply-adds.

Run: python benchmarks/pi_estimate.py [MODEL ...]     (bundled names or files; default: all bundled)

Nothing is measured here and no board was at hand: docs/edge.md derives the rates. Prints Markdown.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

from mmdense_edge.bundled import find, names
from mmdense_edge.contract import Contract, Model, load_model
from mmdense_edge.runtime import interpreter_class

# The classic benchmark network that rates are published of: MobileNet v1, 224 x 224, 1.0.
MOBILENET_GMAC = 0.569

# The cautious end: the share of a core's peak that networks of this form reach on x86.
X86_SHARE = {"float32": 0.32, "int8": 0.18}

# Seconds for the transforms of one second of mono on the x86 core that they were measured on, with
# a window of 2048 and a hop of 1024; they go with the samples that are transformed.
FORWARD_SECONDS, INVERSE_SECONDS = 0.34e-3, 0.30e-3
MEASURED_OVERLAP = 2


@dataclass(frozen=True)
class Board:
    """One core of a board.

    Args:
        name: for people.
        gigahertz: clock.
        per_cycle: multiply-adds per cycle at most, for each precision.
        best_share: share of that peak that published MobileNet figures reach.
        slower: how many times slower than the x86 core NumPy's transforms are taken to be.
    """

    name: str
    gigahertz: float
    per_cycle: dict[str, int]
    best_share: dict[str, float]
    slower: float

    def rates(self, precision: str) -> tuple[float, float]:
        """Returns the multiply-adds per second, in 1e9, at the cautious and the hopeful end."""
        peak = self.gigahertz * self.per_cycle[precision]
        return peak * X86_SHARE[precision], peak * self.best_share[precision]


# ncnn's published table, Pi 4 at 1.8 GHz, one thread: 124.3 ms in float32, 84.8 ms in int8.
_A72_PEAK = {"float32": 4, "int8": 8}
_A72_SHARE = {
    precision: MOBILENET_GMAC / seconds / (1.8 * _A72_PEAK[precision])
    for precision, seconds in (("float32", 0.1243), ("int8", 0.0848))
}
BOARDS = (
    Board("Pi 4 (Cortex-A72, 1.8 GHz)", 1.8, _A72_PEAK, _A72_SHARE, 8.0),
    # No table for one core of the A76 was found: the shares of the A72 are taken.
    Board("Pi 5 (Cortex-A76, 2.4 GHz)", 2.4, {"float32": 8, "int8": 32}, _A72_SHARE, 4.0),
)


def window_gmac(model: Model) -> float:
    """Counts the multiply-adds of a window, in 1e9: convolutions and dense layers."""
    _, interpreter = interpreter_class()
    network = interpreter(model_content=model.content)
    network.allocate_tensors()
    shapes = {tensor["index"]: tensor["shape"] for tensor in network.get_tensor_details()}
    total = 0
    for operator in network._get_ops_details():
        inputs = [shapes.get(index, ()) for index in operator["inputs"]]
        output = shapes.get(operator["outputs"][0], ())
        total += _multiply_adds(operator["op_name"], inputs, output)
    return total / 1e9


def _multiply_adds(name: str, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
    if name == "TRANSPOSE_CONV":  # inputs: shape of the output, weights, map
        return math.prod(map(int, inputs[2])) * math.prod(map(int, inputs[1][:3]))
    if name in ("CONV_2D", "FULLY_CONNECTED"):  # weights: outputs first
        return math.prod(map(int, output)) * math.prod(map(int, inputs[1][1:]))
    if name == "DEPTHWISE_CONV_2D":  # weights: (1, height, width, channels)
        return math.prod(map(int, output)) * math.prod(map(int, inputs[1][1:3]))
    return 0


def step_seconds(contract: Contract) -> float:
    """Returns how much new audio a window decides."""
    return contract.step_frames * contract.transform.hop_length / contract.sample_rate


def estimates(model: Model) -> Iterator[str]:
    """Yields a row of the table per board."""
    contract = model.contract
    gmac = window_gmac(model) / step_seconds(contract)
    if contract.precision == "int16x8":
        yield f"| {contract.name}, int16x8 | {gmac:.2f} | both | no fast kernels | | not known |"
        return
    # Weights alone in 8 bits, and float16, are computed in float32.
    precision = "int8" if contract.precision == "int8" else "float32"
    channels = contract.channels
    overlap = contract.transform.n_fft / contract.transform.hop_length / MEASURED_OVERLAP
    transforms = overlap * channels * (FORWARD_SECONDS + len(contract.sources) * INVERSE_SECONDS)
    for board in BOARDS:
        cautious, hopeful = board.rates(precision)
        other = transforms * board.slower
        yield (
            f"| {contract.name}, {contract.precision} | {gmac:.2f} | {board.name} | "
            f"{cautious:.1f} to {hopeful:.1f} | {other:.3f} | "
            f"{gmac / hopeful + other:.2f} to {gmac / cautious + other:.2f} |"
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="bundled names or files; default: all bundled")
    print(
        "| model | GMAC per second of audio | board, one core | GMAC/s | transforms | "
        "real-time factor, estimated |\n|---|---|---|---|---|---|"
    )
    for name in parser.parse_args().models or names():
        print("\n".join(estimates(load_model(find(name)))))


if __name__ == "__main__":
    main()
