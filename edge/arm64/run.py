"""Installs the project on an emulated arm64 Debian, tests it, compares its stems with x86-64's.

Run: make test-arm64

Everything is kept in a folder, so that the next run only installs the project anew. Where the
emulation cannot be set up the reason is printed and the exit code is 0.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
import userland
from compare import compare
from mmdense_edge import read_contract

ROOT = Path(__file__).resolve().parents[2]
EDGE = ROOT / "edge"
FIXTURES = ("shares", "magnitudes", "int8")
START_SECONDS, LENGTH_SECONDS = 8.0, 2.9  # one window of 128 new frames: a minute, emulated

# Left out because emulation cannot tell anything about them: memory over long files, real time.
MARKERS = "not native"


def main() -> int:
    """Runs all steps; returns the exit code."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / ".arm64", help="default .arm64")
    parser.add_argument("--suite", default="bookworm", help="Debian release; default bookworm")
    arguments = parser.parse_args()
    folder = (arguments.folder / arguments.suite).resolve()
    try:
        python = _set_up(folder, arguments.suite)
    except userland.Skipped as reason:
        print(f"test-arm64 skipped: {reason}")
        return 0
    if not _done(_install, python, folder):
        return 1
    # A failing test does not keep the stems from being compared.
    steps = (_test, _compare)
    failed = [step.__name__.strip("_") for step in steps if not _done(step, python, folder)]
    _say(f"FAILED: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


def _done(step: Callable[[Path, Path], bool], python: Path, folder: Path) -> bool:
    """Runs a step; tells whether it passed."""
    try:
        return step(python, folder)
    except (subprocess.CalledProcessError, ValueError) as error:
        print(str(error)[:300])
        return False


def _say(text: str) -> None:
    print(f"== {time.strftime('%H:%M:%S')} {text}", flush=True)


def _set_up(folder: Path, suite: str) -> Path:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise userland.Skipped(f"made for x86-64 Linux, this is {platform.platform()}")
    userland.require_tools()
    _say(f"Debian {suite} for arm64 in {folder}")
    userland.build(folder / "root", suite)
    userland.write_processor(folder / "root", "cortex-a72")
    return userland.environment(folder / "root", folder / "venv")


def _install(python: Path, folder: Path) -> bool:
    _say('pip install ".[plot]", as on a Pi')
    if not (python.parent / "pip").exists():
        # As ensurepip does, which fails under qemu on Python 3.13: extended attributes.
        (wheel,) = (folder / "root" / "usr" / "share" / "python-wheels").glob("pip-*.whl")
        command = ["install", "--quiet", "--no-index", "--no-deps", str(wheel)]
        userland.run([str(python), str(wheel / "pip"), *command])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    userland.run([*pip, f"{ROOT}[plot]"])
    userland.run([*pip, "pytest>=8.2", "pytest-xdist>=3.6", "hypothesis>=6", "scipy>=1.11"])
    userland.run([str(python.with_name("mmdense")), "models"])
    return True


def _test(python: Path, folder: Path) -> bool:
    _say(f"the runner's tests (-m '{MARKERS}')")
    tests = str(ROOT / "tests" / "edge")
    options = ["-q", "-n", "2", "-p", "no:cacheprovider", "-m", MARKERS, f"--rootdir={ROOT}"]
    options += [f"--confcutdir={tests}", f"--basetemp={folder / 'tests'}"]
    userland.run([str(python), "-m", "pytest", *options, tests])
    return True


def _compare(python: Path, folder: Path) -> bool:
    """Separates natively and emulated, on both processors; returns whether all agree."""
    work = folder / "stems"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    song = _excerpt(work / "excerpt.wav")
    models = sorted((EDGE / "mmdense_edge" / "model").glob("*.tflite"))
    models += [ROOT / "tests" / "edge" / "data" / f"{name}.tflite" for name in FIXTURES]
    # The second processor differs in its int8 kernels alone, and a float model takes a minute.
    quantized = [path for path in models if read_contract(path).precision != "float32"]
    _say(f"{LENGTH_SECONDS} s of the example on this machine")
    script = str(EDGE / "arm64" / "separate.py")
    native = [sys.executable, script, str(work / "x86-64"), str(song), *map(str, models)]
    subprocess.run(native, check=True)
    agree = True
    for processor, chosen in zip(userland.PROCESSORS, (models, quantized), strict=True):
        userland.write_processor(folder / "root", processor)
        _say(f"the same on {processor}")
        found = work / processor
        command = [str(python), script, str(found), str(song), *map(str, chosen)]
        userland.run(command, processor)
        for line in compare(found, work / "x86-64", [path.stem for path in chosen]):
            print(line)
            agree = agree and line.passed
    return agree


def _excerpt(path: Path) -> Path:
    """Writes some seconds of the example as 32-bit floats, so that the stems are not rounded."""
    example = EDGE / "example" / "mixture.flac"
    rate = sf.info(example).samplerate
    audio, _ = sf.read(
        example,
        frames=int(LENGTH_SECONDS * rate),
        start=int(START_SECONDS * rate),
        dtype="float32",
    )
    sf.write(path, audio.astype(np.float32), rate, subtype="FLOAT")
    return path


if __name__ == "__main__":
    sys.exit(main())
