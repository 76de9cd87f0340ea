"""The systems that bench_peers measures, and the environment of each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.edge_install import megabytes_of, packages_of

ROOT = Path(__file__).resolve().parents[1]
MARK = "made-by-bench-peers.json"


@dataclass(frozen=True)
class Peer:
    """One system.

    Args:
        name: for --peers.
        label: in tables and plots.
        system: module and class below `benchmarks`.
        requirements: what pip installs into its environment, TORCH for the PyTorch asked for, and
            "." for this project; () if it shares another's.
        environment: the system whose environment it shares; "" for one of its own.
        trains: module and class whose `training` is measured; "" for none.
        trains_in: the system in whose environment; "" for its own.
        slow: measured in one round only.
        ours: of this project.
    """

    name: str
    label: str
    system: str
    requirements: tuple[str, ...] = ()
    environment: str = ""
    trains: str = ""
    trains_in: str = ""
    slow: bool = False
    ours: bool = False

    @property
    def home(self) -> str:
        """The system whose environment it runs in."""
        return self.environment or self.name


TORCH = "TORCH"
BASE = "edge-int8"
PEERS = (
    Peer(
        BASE, "mmdensenet-edge, int8, runner", "peers_litert:EdgeInt8", (".",), ours=True
    ),
    Peer(
        "edge-float32", "mmdensenet-edge, float32, runner", "peers_litert:EdgeFloat32",
        environment=BASE, trains="peers_keras:MMDenseNetEdgeKeras", trains_in="mmdensenet-keras",
        ours=True,
    ),
    Peer(
        "spleeter-int8", "Spleeter's U-Net, int8, LiteRT", "peers_litert:SpleeterInt8",
        ("numpy", "soundfile", "ai-edge-litert>=2.1.6,<3"),
    ),
    Peer(
        "spleeter-keras", "Spleeter's U-Net, Keras", "peers_keras:SpleeterKeras",
        ("numpy", "soundfile", "tensorflow>=2.17,<2.22", "keras>=3.12,<4"),
        trains="peers_keras:SpleeterKeras",
    ),
    Peer(
        "openunmix", "Open-Unmix (umxhq), PyTorch", "peers_torch:OpenUnmix",
        (TORCH, "openunmix", "soundfile"), trains="peers_torch:OpenUnmix",
    ),
    Peer(
        "mmdensenet-tflite", "MMDenseNet x 4, float32, runner", "peers_litert:MMDenseNetFloat32",
        environment=BASE, slow=True, ours=True,
    ),
    Peer(
        "mmdensenet-keras", "MMDenseNet x 4, Keras", "peers_keras:MMDenseNetKeras",
        (".[tensorflow]",), trains="peers_keras:MMDenseNetKeras", slow=True, ours=True,
    ),
    Peer(
        "mmdensenet-torch", "MMDenseNet x 4, PyTorch", "peers_torch:TorchMMDenseNet",
        (TORCH, "numpy", "soundfile"), trains="peers_torch:TorchMMDenseNet", slow=True,
    ),
    Peer(
        "demucs", "Demucs (htdemucs), PyTorch", "peers_torch:Demucs",
        (TORCH, "demucs", "numpy", "soundfile"), trains="peers_torch:Demucs", slow=True,
    ),
)  # fmt: skip
NAMES = tuple(peer.name for peer in PEERS)


@dataclass(frozen=True)
class Environment:
    """An environment that is ready.

    Args:
        python: its interpreter.
        packages: name and version of each.
        megabytes: of its site-packages, without pip and setuptools.
        requirements: what pip was given.
        removed: files of packages that were taken away again, as PACKAGE/FILE.
    """

    python: str
    packages: dict[str, str]
    megabytes: float
    requirements: tuple[str, ...]
    removed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Returns what a report keeps: everything but the path of the interpreter."""
        return {key: value for key, value in asdict(self).items() if key != "python"}


def environment(
    cache: Path, peer: Peer, torch: str, say: Callable[[str], None], fresh: bool = False
) -> Environment:
    """Returns a system's environment, made where it is not there yet.

    Args:
        cache: the folder of all environments; made if need be.
        peer: one with requirements.
        torch: what TORCH among them stands for.
        say: called before the installation.
        fresh: make it anew even if it is there.

    Raises:
        RuntimeError: pip failed, with its last line; or the folder is something else.
    """
    folder, wanted = cache / peer.name, _resolved(peer.requirements, torch)
    mark = folder / MARK
    if mark.is_file() and not fresh:
        kept = json.loads(mark.read_text("utf-8"))
        if kept["requirements"] == list(wanted):
            removed = tuple(kept["removed"])
            return Environment(**kept | {"requirements": wanted, "removed": removed})
    if folder.exists():
        if not (folder / "pyvenv.cfg").is_file():
            raise RuntimeError(f"{folder} is no environment: give another --cache, or remove it")
        shutil.rmtree(folder)
    say(f"installing {peer.name}: {' '.join(wanted)}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", *wanted],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"pip cannot install {' '.join(wanted)}: {lines[-1]}")
    packages = packages_of(python)
    removed = _without_cuda(folder, packages)
    made = Environment(str(python), packages, megabytes_of(python), wanted, removed)
    mark.write_text(json.dumps(asdict(made), indent=1), "utf-8")
    return made


def _resolved(requirements: Sequence[str], torch: str) -> tuple[str, ...]:
    return tuple(torch if one == TORCH else one for one in requirements)


def _without_cuda(folder: Path, packages: dict[str, str]) -> tuple[str, ...]:
    """Takes away torchaudio's compiled part where it is built for CUDA and PyTorch is not.

    The package index has torchaudio for CUDA alone, and it then cannot be imported. Without the
    compiled part it can; Open-Unmix resamples and transforms with what is left.
    """
    if not packages.get("torch", "").endswith("+cpu"):
        return ()
    files = sorted(folder.glob("lib/python*/site-packages/torchaudio/lib/*.so"))
    for file in files:
        file.unlink()
    return tuple(f"torchaudio/lib/{file.name}" for file in files)
