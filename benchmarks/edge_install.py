"""Installs the project into a fresh environment and measures it: size, packages, import time.

Run: python benchmarks/edge_install.py [--python PYTHON] [--extras plot,live] [--json FILE]

Needs pip's network. Ends with exit code 1 where a limit is passed: `make check-install`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MAX_MEGABYTES, MAX_PACKAGES = 170, 14

# What is measured, each in a new process.
STATEMENTS = {
    "import mmdense_edge": "import mmdense_edge",
    "from mmdense_edge import Separator": "from mmdense_edge import Separator",
    "Separator()": "from mmdense_edge import Separator; Separator()",
}
_TIMED = "import time\nstart = time.process_time()\n{}\nprint(time.process_time() - start)"
_LISTED = (
    "import importlib.metadata as m, json\n"
    "print(json.dumps(sorted((d.metadata['Name'], d.version) for d in m.distributions()\n"
    "    if d.metadata['Name'] not in ('pip', 'setuptools'))))"
)
_RUNTIME = "from mmdense_edge.runtime import interpreter_class; print(interpreter_class()[0])"


def install(python: str, folder: Path, extras: str) -> Path:
    """Makes an environment with the project in it.

    Args:
        python: the interpreter to make it with.
        folder: an existing, empty folder.
        extras: names of the distribution's extras, separated by commas; may be empty.

    Returns:
        The environment's interpreter.
    """
    subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
    windows = platform.system() == "Windows"
    inside = folder / "venv" / ("Scripts" if windows else "bin") / "python"
    wanted = f"{ROOT}[{extras}]" if extras else str(ROOT)
    subprocess.run([str(inside), "-m", "pip", "install", "--quiet", wanted], check=True)
    return inside


def measure(python: Path, repeats: int) -> dict[str, Any]:
    """Measures an environment.

    Args:
        python: its interpreter.
        repeats: processes per statement.

    Returns:
        megabytes (of site-packages without pip and setuptools), packages (name and version),
        runtime, and CPU seconds per statement (median).
    """
    times = {
        name: statistics.median(
            float(_answer(python, _TIMED.format(code)).splitlines()[-1]) for _ in range(repeats)
        )
        for name, code in STATEMENTS.items()
    }
    return {
        "python": _answer(python, "import platform; print(platform.python_version())").strip(),
        "machine": f"{platform.system()} {platform.machine()}",
        "date": date.today().isoformat(),
        "runtime": _answer(python, _RUNTIME).strip(),
        "megabytes": megabytes_of(python),
        "packages": packages_of(python),
        "cpu_seconds": times,
    }


def packages_of(python: Path) -> dict[str, str]:
    """Returns the packages of an environment and their versions, without pip and setuptools.

    Args:
        python: its interpreter.
    """
    return dict(json.loads(_answer(python, _LISTED)))


def megabytes_of(python: Path) -> float:
    """Returns the size of an environment's site-packages without pip and setuptools.

    Args:
        python: its interpreter.
    """
    site = Path(_answer(python, "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    return sum(_sizes(site)) / 1e6


def _answer(python: Path, code: str) -> str:
    done = subprocess.run(
        [str(python), "-c", code], check=True, stdout=subprocess.PIPE, text=True, cwd=python.parent
    )
    return done.stdout


def _sizes(site: Path) -> Iterator[int]:
    for path in site.rglob("*"):
        first = path.relative_to(site).parts[0]
        own = first.startswith(("pip", "setuptools", "pkg_resources", "_distutils_hack"))
        if path.is_file() and not own:
            yield path.stat().st_size


def main() -> int:
    """Measures, prints, and returns 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="default: the one that runs this")
    parser.add_argument("--extras", default="", help="for example plot,live")
    parser.add_argument("--repeats", type=int, default=5, help="processes per time; default 5")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = install(arguments.python, Path(folder), arguments.extras)
        figures = measure(python, arguments.repeats)
    print(f"Python {figures['python']}, {figures['machine']}, {figures['date']}")
    print(f"interpreter: {figures['runtime']}")
    print(f"size: {figures['megabytes']:.0f} MB, at most {MAX_MEGABYTES}")
    print(f"packages: {len(figures['packages'])}, at most {MAX_PACKAGES}")
    print("  " + ", ".join(f"{name} {version}" for name, version in figures["packages"].items()))
    for name, seconds in figures["cpu_seconds"].items():
        print(f"{name}: {seconds:.3f} CPU s")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if arguments.extras:
        return 0
    return int(figures["megabytes"] > MAX_MEGABYTES or len(figures["packages"]) > MAX_PACKAGES)


if __name__ == "__main__":
    sys.exit(main())
