"""The systems that are compared, and the environment of each."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, packages_of, run, say

MARK = "made-by-bench-peers.json"


@dataclass(frozen=True)
class Peer:
    """One system.

    Args:
        name: For --peers.
        label: In tables and plots.
        system: Module and class below `benchmarks.peers`.
        home: Of the environment that it runs in, a key of `REQUIREMENTS`.
        slow: Measured in one round only.
        ours: Of this project.
    """

    name: str
    label: str
    system: str
    home: str
    slow: bool = False
    ours: bool = False


BASE = "edge-int8"
# What pip installs into each environment; TORCH is the PyTorch asked for, "." this project.
TORCH = "TORCH"
REQUIREMENTS = {
    BASE: (".",),
    "spleeter-int8": ("numpy", "soundfile", "ai-edge-litert>=2.1.6,<3"),
    "spleeter-keras": ("numpy", "soundfile", "tensorflow>=2.17,<2.22", "keras>=3.12,<4"),
    "openunmix": (TORCH, "openunmix", "soundfile"),
    "mmdensenet-keras": (".[tensorflow]",),
    "mmdensenet-torch": (TORCH, "numpy", "soundfile"),
    "demucs": (TORCH, "demucs", "numpy", "soundfile"),
}
PEERS = (
    Peer(BASE, "mmdensenet-edge, int8, runner", "ours:EdgeInt8", BASE, ours=True),
    Peer("edge-float32", "mmdensenet-edge, float32, runner", "ours:EdgeFloat32", BASE, ours=True),
    Peer("spleeter-int8", "Spleeter's U-Net, int8, LiteRT", "spleeter:SpleeterInt8",
         "spleeter-int8"),
    Peer("spleeter-keras", "Spleeter's U-Net, Keras", "spleeter:SpleeterKeras", "spleeter-keras"),
    Peer("openunmix", "Open-Unmix (umxhq), PyTorch", "openunmix:OpenUnmix", "openunmix"),
    Peer("mmdensenet-tflite", "MMDenseNet x 4, float32, runner", "ours:MMDenseNetFloat32", BASE,
         slow=True, ours=True),
    Peer("mmdensenet-int8", "MMDenseNet with masks x 4, int8, runner", "ours:MMDenseNetInt8", BASE,
         slow=True, ours=True),
    Peer("mmdensenet-keras", "MMDenseNet x 4, Keras", "ours:MMDenseNetKeras", "mmdensenet-keras",
         slow=True, ours=True),
    Peer("mmdensenet-torch", "MMDenseNet x 4, PyTorch", "mmdensenet_torch:TorchMMDenseNet",
         "mmdensenet-torch", slow=True),
    Peer("demucs", "Demucs (htdemucs), PyTorch", "demucs:Demucs", "demucs", slow=True),
)  # fmt: skip
NAMES = tuple(peer.name for peer in PEERS)


def environment(cache: Path, name: str, torch: str) -> dict[str, Any]:
    """Return an environment, after making it if necessary.

    Args:
        cache: The folder of all environments; made if need be.
        name: A key of `REQUIREMENTS`.
        torch: What TORCH stands for.

    Returns:
        python: Its interpreter. packages: name and version of each. megabytes: of its
        site-packages, without pip and setuptools. requirements: what pip was given. removed: files
        of packages that were deleted afterwards, as PACKAGE/FILE.

    Raises:
        RuntimeError: pip failed, with its last line; or the folder is something else.
    """
    folder = cache / name
    wanted = [torch if one == TORCH else one for one in REQUIREMENTS[name]]
    mark = folder / MARK
    if mark.is_file():
        kept: dict[str, Any] = json.loads(mark.read_text("utf-8"))
        if kept["requirements"] == wanted:
            return kept
    if folder.exists() and not (folder / "pyvenv.cfg").is_file():
        raise RuntimeError(f"{folder} is no environment: give another --cache, or remove it")
    say(f"installing {name}: {' '.join(wanted)}")
    run([sys.executable, "-m", "venv", "--clear", str(folder)])
    python = folder / "bin" / "python"
    projects = [f"{ROOT}{one[1:]}" if one.startswith(".") else one for one in wanted]
    run([str(python), "-m", "pip", "install", "--quiet", *projects])
    packages, _ = packages_of(python)
    removed = []
    if packages.get("torch", "").endswith("+cpu"):
        # The package index has torchaudio only for CUDA, which cannot be imported beside this
        # PyTorch. Without its compiled part it can, and Open-Unmix needs no more.
        for file in sorted(folder.glob("lib/python*/site-packages/torchaudio/lib/*.so")):
            file.unlink()
            removed.append(f"torchaudio/lib/{file.name}")
    made = {"python": str(python), "packages": packages, "megabytes": packages_of(python)[1],
            "requirements": wanted, "removed": removed}  # fmt: skip
    mark.write_text(json.dumps(made, indent=1), "utf-8")
    return made
