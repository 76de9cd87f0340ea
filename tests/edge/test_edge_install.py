"""What an installation brings along, imports and keeps of its memory: small on purpose."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGE = Path(__file__).parents[2] / "edge" / "mmdense_edge"
REQUIREMENTS = [Requirement(text) for text in importlib.metadata.requires("keras-mmdense") or []]
HEAVY = {
    *("numpy", "soundfile", "soxr", "sounddevice", "matplotlib", "scipy", "ctypes", "asyncio"),
    *("ai_edge_litert", "tflite_runtime", "tensorflow", "keras", "keras_mmdense"),
    *("multiprocessing", "concurrent", "http", "socket", "ssl"),
}


def requirements(python: str, system: str, machine: str) -> set[str]:
    """What pip would ask for there: names with their bounds."""
    environment = {
        "python_version": python,
        "sys_platform": system,
        "platform_machine": machine,
        "extra": "",
    }
    return {
        f"{need.name}{need.specifier}"
        for need in REQUIREMENTS
        if need.marker is None or need.marker.evaluate(environment)
    }


ALWAYS = {"numpy>=1.26", "soundfile>=0.12", "soxr>=0.5", "tqdm>=4.66", "shtab>=1.13"}
LITERT = {"ai-edge-litert<3,>=2.1.6"}
TFLITE = {"tflite-runtime>=2.14", "numpy<2"}


@pytest.mark.parametrize(
    ("python", "system", "machine", "interpreter"),
    [
        ("3.11", "linux", "x86_64", LITERT),
        ("3.13", "linux", "aarch64", LITERT),
        ("3.14", "linux", "x86_64", LITERT),
        ("3.12", "darwin", "arm64", LITERT),
        ("3.12", "win32", "AMD64", LITERT),
        ("3.11", "linux", "armv7l", TFLITE),
        ("3.11", "linux", "armv8l", TFLITE),
        ("3.13", "linux", "armv7l", set()),
        ("3.12", "darwin", "x86_64", set()),
        ("3.12", "win32", "x86", set()),
    ],
)
def test_every_platform_gets_the_interpreter_that_has_wheels(python, system, machine, interpreter):
    assert requirements(python, system, machine) == ALWAYS | interpreter


def test_the_distribution_is_small():
    kept = [
        path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    known = {".py", ".typed", ".tflite", ".md", ""}
    assert {path.suffix for path in kept if PACKAGE / "serve" not in path.parents} <= known
    assert sum(path.stat().st_size for path in kept) < 16_000_000


def loaded_by(code: str) -> set[str]:
    """The top-level modules that some code loads in a fresh interpreter."""
    script = (
        f"import sys, json\nbefore = set(sys.modules)\n{code}\n"
        "sys.stdout.flush()\n"
        "print('LOADED', json.dumps([m for m in sys.modules if m not in before]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    last = done.stdout.splitlines()[-1]
    return set(json.loads(last.removeprefix("LOADED ")))


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import mmdense_edge", set()),
        ("from mmdense_edge import read_contract, ModelError", set()),
        ("from mmdense_edge.cli.main import parser; parser().format_help()", set()),
        # The interpreter is imported with the first model only.
        ("from mmdense_edge import Separator", {"numpy", "soxr", "ctypes", "socket"}),
    ],
)
def test_what_needs_no_audio_imports_nothing_heavy(code, loaded):
    assert {name.partition(".")[0] for name in loaded_by(code)} & HEAVY <= loaded


# Frees a block, so that glibc would keep the next ones, then says what stays of 8 blocks of 8 MiB,
# each with a small one behind it that stays.
PROGRAM = """
import ctypes, sys

if sys.argv[1] == "yes":
    from mmdense_edge.cli import main
    assert main.set_heap_thresholds(6 << 20)
warm = bytearray(24 << 20)
del warm


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


start = resident()
pairs = [[bytearray(b"x") * (8 << 20), bytearray(b"y") * (256 << 10)] for _ in range(8)]
for pair in pairs:
    del pair[0]
print(resident() - start)
"""


@pytest.mark.native
def test_freed_blocks_do_not_stay():
    def left(asked):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, asked], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert left("no") > 32 << 20  # else this test shows nothing
    assert left("yes") < 4 << 20
