"""What a wheel and a source distribution hold, and what an installation without Keras says."""

import subprocess
import sys
from email.parser import Parser
from pathlib import Path

import pytest

import keras_mmdense

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "keras_mmdense", ROOT / "edge" / "mmdense_edge")


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel's packages, and the metadata with the list of the sdist's files."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", folder]
    command += ["build_py", "--build-lib", folder / "wheel"]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_wheel_and_sdist_hold_the_whole_packages_and_the_wheel_no_other(built, package):
    kept = files(package)
    assert files(built / "wheel" / package.name) == kept
    assert {path.name for path in (built / "wheel").iterdir()} == {path.name for path in PACKAGES}
    sources = (built / "keras_mmdense.egg-info" / "SOURCES.txt").read_text("utf-8").splitlines()
    assert {package.relative_to(ROOT).joinpath(path).as_posix() for path in kept} <= set(sources)
    # weights for research alone, whose license is not that of a distribution
    assert not [name for name in sources if name.startswith("training/research/")]


def test_the_metadata(built):
    info = (built / "keras_mmdense.egg-info" / "PKG-INFO").read_text("utf-8")
    metadata = Parser().parsestr(info)
    assert (metadata["Name"], metadata["Version"]) == ("keras-mmdense", keras_mmdense.__version__)
    for name in metadata.get_all("License-File"):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize(
    ("missing", "extra"),
    [("keras", "tensorflow"), ("tensorflow", "tensorflow"), ("jax", "jax")],
)
def test_without_keras_or_its_backend_the_first_use_says_what_to_install(missing, extra):
    code = (
        f"import os, sys; sys.modules[{missing!r}] = None\n"
        f"os.environ['KERAS_BACKEND'] = {extra!r}\n"
        "import keras_mmdense\nfrom keras_mmdense.cli import main\n"
        "try: keras_mmdense.build\n"
        "except ImportError as error:\n"
        "    assert error.__suppress_context__  # the line stands alone in a traceback\n"
        "    print(error, file=sys.stderr)\n"
        "sys.exit(main(['summary', 'mmdensenet']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (1, 2), lines
    assert all(f'pip install ".[{extra}]"' in line for line in lines)
    other = {"keras": "", "tensorflow": "jax", "jax": "tensorflow"}[missing]
    assert all(
        (f"set the variable KERAS_BACKEND={other}, or" in line) == bool(other) for line in lines
    )


def test_everything_exported_is_there_and_documented():
    for name in keras_mmdense.__all__:
        assert name.startswith("__") or getattr(keras_mmdense, name).__doc__
    assert set(keras_mmdense._EXPORTS) <= set(keras_mmdense.__all__)
