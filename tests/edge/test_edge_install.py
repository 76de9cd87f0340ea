"""What an installation brings along and what it imports: kept small on purpose."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

try:
    import tomllib
except ImportError:  # before Python 3.11; pytest brings it there
    import tomli as tomllib

EDGE = Path(__file__).parents[2] / "edge"
PACKAGE = EDGE / "mmdense_edge"
PROJECT = tomllib.loads((EDGE / "pyproject.toml").read_text("utf-8"))["project"]
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
    wanted = map(Requirement, PROJECT["dependencies"])
    return {
        f"{need.name}{need.specifier}"
        for need in wanted
        if need.marker is None or need.marker.evaluate(environment)
    }


ALWAYS = {"numpy>=1.24", "soundfile>=0.12", "soxr>=0.3.7"}
LITERT = {"ai-edge-litert<3,>=2.1.6"}
TFLITE = {"tflite-runtime>=2.14", "numpy<2"}


@pytest.mark.parametrize(
    ("python", "system", "machine", "interpreter"),
    [
        ("3.10", "linux", "x86_64", LITERT),
        ("3.13", "linux", "aarch64", LITERT),
        ("3.14", "linux", "x86_64", LITERT),
        ("3.12", "darwin", "arm64", LITERT),
        ("3.12", "win32", "AMD64", LITERT),
        ("3.9", "linux", "x86_64", TFLITE),
        ("3.9", "linux", "aarch64", TFLITE),
        ("3.11", "linux", "armv7l", TFLITE),
        ("3.11", "linux", "armv8l", TFLITE),
        ("3.13", "linux", "armv7l", set()),
        ("3.12", "darwin", "x86_64", set()),
        ("3.9", "win32", "AMD64", set()),
    ],
)
def test_every_platform_gets_the_interpreter_that_has_wheels(python, system, machine, interpreter):
    assert requirements(python, system, machine) == ALWAYS | interpreter


def test_nothing_else_is_asked_for():
    names = [Requirement(text).name for text in PROJECT["dependencies"]]
    assert sorted(names) == [
        *("ai-edge-litert", "numpy", "numpy", "soundfile", "soxr", "tflite-runtime")
    ]
    assert set(PROJECT["optional-dependencies"]) == {"live", "plot", "tflite"}


def test_an_installation_has_few_packages():
    """The packages that this environment has for what the runner asks for, and for theirs."""
    found: set[str] = set()
    left = [Requirement(text) for text in PROJECT["dependencies"]]
    while left:
        need = left.pop()
        name = need.name.lower().replace("_", "-").replace(".", "-")
        if name in found or not (need.marker is None or need.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        left += map(Requirement, importlib.metadata.requires(need.name) or [])
    assert {"numpy", "soundfile", "soxr", "cffi"} <= found
    assert len(found) <= 13, sorted(found)
    assert not found & {"tensorflow", "keras", "scipy", "matplotlib", "torch"}


def test_the_distribution_is_small():
    kept = [
        path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    models = [path for path in kept if path.parent.name == "models"]
    page = [path for path in kept if PACKAGE / "web" in path.parents]
    code = [path for path in kept if path not in models and path not in page]
    assert {path.suffix for path in code} == {".py", ".typed"}
    assert {path.suffix for path in models} <= {".tflite", ".md", ""}
    assert sum(path.stat().st_size for path in code) < 500_000
    assert sum(path.stat().st_size for path in models) < 6_000_000
    # The page: three builds of its runtime, compressed.
    assert sum(path.stat().st_size for path in page) < 9_500_000
    assert max(path.stat().st_size for path in page) < 3_000_000


def test_the_page_is_part_of_the_distribution():
    settings = tomllib.loads((EDGE / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    packed = {
        path
        for pattern in settings["package-data"]["mmdense_edge"]
        for path in PACKAGE.glob(pattern)
    }
    assert {path for path in (PACKAGE / "web").rglob("*") if path.is_file()} <= packed
    assert "mmdense_edge/web/licences.txt" in PROJECT["license-files"]


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
    "code",
    [
        "import mmdense_edge",
        "from mmdense_edge import read_contract, ModelError",
        "from mmdense_edge.cli import parser; parser().format_help()",
    ],
)
def test_what_needs_no_audio_imports_nothing_heavy(code):
    assert not {name.partition(".")[0] for name in loaded_by(code)} & HEAVY


def test_the_import_alone_brings_a_handful_of_modules():
    own = {name for name in loaded_by("import mmdense_edge") if name.startswith("mmdense_edge")}
    assert own == {"mmdense_edge"}


def test_the_interpreter_is_imported_with_the_first_model_only():
    runtimes = {"ai_edge_litert", "tflite_runtime", "tensorflow"}
    loaded = {name.partition(".")[0] for name in loaded_by("from mmdense_edge import Separator")}
    assert "numpy" in loaded
    assert not loaded & (runtimes | {"matplotlib", "sounddevice", "scipy", "keras_mmdense"})


SOURCES = sorted(PACKAGE.glob("*.py"))
# Modules, names and arguments that Python 3.9 lacks.
NEWER = {"tomllib", "StrEnum", "pairwise", "ExceptionGroup", "TypeAlias", "Self", "override"}
NEWER_ARGUMENTS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only"}}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_source_is_python_3_9(path):
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            assert getattr(node, "id", getattr(node, "attr", "")) not in NEWER
        elif isinstance(node, ast.alias):
            assert node.name not in NEWER
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            newer = NEWER_ARGUMENTS.get(node.func.id, set())
            assert not newer & {keyword.arg for keyword in node.keywords}, node.lineno
        # Unions outside of annotations are evaluated, and types of 3.9 cannot be joined with "|".
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
            assert not _joins_types(node.value), node.lineno


def _joins_types(value: ast.BinOp) -> bool:
    sides = (value.left, value.right)
    none = any(isinstance(side, ast.Constant) and side.value is None for side in sides)
    return isinstance(value.op, ast.BitOr) and (
        none or any(isinstance(side, ast.Subscript) for side in sides)
    )
