"""The systems of bench_peers that run on the LiteRT interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import multiply_adds
from benchmarks.peer_system import SECONDS_PER_FRAME, SOURCES, System

SPLEETER_FILE, MMDENSENET_FILE, PARAMETERS_FILE = (
    "spleeter-int8.tflite",
    "mmdensenet-float32.tflite",
    "parameters.json",
)


def _parameters(folder: Path, name: str) -> int:
    import json

    found: dict[str, int] = json.loads((folder / PARAMETERS_FILE).read_text("utf-8"))
    return found[name]


class SpleeterInt8(System):
    """Four U-Nets of Spleeter's shape, loaded from one int8 file."""

    def __init__(self, threads: int, folder: Path) -> None:
        from benchmarks.edge_worker import network_of

        self.folder = folder
        self.networks = [network_of(folder / SPLEETER_FILE, threads) for _ in SOURCES]

    def separate(self, audio: Any) -> list[Any]:
        """Returns four stems, in windows of 512 frames."""
        from benchmarks import spleeter_shape

        return list(spleeter_shape.separate(audio, self.networks))

    def describe(self) -> dict[str, float]:
        """Returns parameters and multiply-adds."""
        from benchmarks.spleeter_shape import FRAMES

        counted = multiply_adds.count((self.folder / SPLEETER_FILE).read_bytes())
        macs = len(SOURCES) * sum(counted.values())
        return {
            "parameters": _parameters(self.folder, "spleeter"),
            "gmac_per_s": macs / (FRAMES * SECONDS_PER_FRAME) / 1e9,
        }


class Runner(System):
    """Our runner, from file to files in fixed memory; one or several models."""

    MODELS: tuple[str, ...]
    PARAMETERS: str

    def __init__(self, threads: int, folder: Path) -> None:
        from mmdense_edge import Separator

        self.folder = folder
        found = [folder / one if one.endswith(".tflite") else one for one in self.MODELS]
        self.separators = [Separator(one, threads) for one in found]

    def file_to_files(self, song: Path, folder: Path) -> None:
        """Separates as `mmdense separate` does; each model's stems into a folder of its own."""
        from mmdense_edge.inputs import Song
        from mmdense_edge.jobs import Options, plan
        from mmdense_edge.pool import attempt
        from mmdense_edge.sums import choose

        for number, separator in enumerate(self.separators):
            parts = choose(separator.sources, separator.sources)
            out, options = folder / str(number), Options(overwrite=True)
            (job,) = plan([Song(song)], out, parts, options, model=separator.contract.name)
            report = attempt(separator, job)
            if report.error is not None:
                raise RuntimeError(report.error)

    def describe(self) -> dict[str, float]:
        """Returns parameters and multiply-adds."""
        total = 0.0
        for separator in self.separators:
            contract = separator.contract
            kept = contract.frames - 2 * contract.context_frames
            macs = sum(multiply_adds.count(separator.model.content).values())
            total += macs / (kept * SECONDS_PER_FRAME)
        return {
            "parameters": _parameters(self.folder, self.PARAMETERS),
            "gmac_per_s": total / 1e9,
        }


class EdgeInt8(Runner):
    """The bundled device model in int8, with its trained weights."""

    MODELS, PARAMETERS = ("mmdensenet-edge-int8",), "edge"


class EdgeFloat32(Runner):
    """The same in float32."""

    MODELS, PARAMETERS = ("mmdensenet-edge-float32",), "edge"


class MMDenseNetFloat32(Runner):
    """Four networks of the published form, loaded from one float32 file."""

    MODELS, PARAMETERS = (MMDENSENET_FILE,) * len(SOURCES), "mmdensenet"
