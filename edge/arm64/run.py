"""Install the project on an emulated arm64 Debian, test it, compare its stems with x86-64's.

Run: make test-arm64

Everything is kept in a folder, so that the next run only installs the project again. If the
emulation cannot be set up, the reason is printed and the exit code is 0.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
import userland
from mmdense_edge import read_contract
from mmdense_edge.signal.sdr import SDR

ROOT = Path(__file__).resolve().parents[2]
EDGE = ROOT / "edge"
FIXTURES = ("shares", "magnitudes", "int8", "causal")
START_SECONDS, LENGTH_SECONDS = 8.0, 2.9  # one window of 128 new frames: a minute, emulated
TESTS = ["pytest>=8.2", "pytest-xdist>=3.6", "hypothesis>=6", "scipy>=1.11", "distributed>=2024.8"]

# Left out because emulation cannot tell anything about them: memory over long files, real time.
MARKERS = "not native"

MAX_DIFFERENCE = 1e-4

# The scale that TFLite gives to an int8 sigmoid or softmax: for masks that are not coded in 8 bits.
STEP = 1 / 256


def main() -> int:
    """Run all steps; return the exit code."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / ".arm64", help="default .arm64")
    parser.add_argument("--suite", default="bookworm", help="Debian release; default bookworm")
    arguments = parser.parse_args()
    folder = (arguments.folder / arguments.suite).resolve()
    say(f"Debian {arguments.suite} for arm64 in {folder}")
    try:
        userland.build(folder / "root", arguments.suite)
    except userland.Skipped as reason:
        print(f"test-arm64 skipped: {reason}")
        return 0
    userland.write_processor(folder / "root", "cortex-a72")
    python = userland.environment(folder / "root", folder / "venv")
    failed = []
    for step in (install, test, compare_stems):
        try:
            step(python, folder)
        except (subprocess.CalledProcessError, ValueError) as error:
            print(str(error)[:300])
            failed.append(step.__name__)
            if step is install:
                break
    # A failing test does not keep the stems from being compared.
    say(f"FAILED: {', '.join(failed)}" if failed else "all passed")
    return int(bool(failed))


def say(text: str) -> None:
    """Print what comes next, and the time."""
    print(f"== {time.strftime('%H:%M:%S')} {text}", flush=True)


def install(python: Path, folder: Path) -> None:
    """Install the project as a user does; the pip of this interpreter runs in the emulated one."""
    say('pip install ".[plot]", as on a Pi')
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    userland.run([*pip, "--only-binary=:all:", f"{ROOT}[plot]", *TESTS])
    userland.run([str(python.with_name("mmdense")), "models"])


def test(python: Path, folder: Path) -> None:
    """Run the runner's tests."""
    say(f"the runner's tests (-m '{MARKERS}')")
    options = ["-q", "-n", "2", "-p", "no:cacheprovider", "-m", MARKERS, f"--rootdir={ROOT}"]
    options.append(f"--basetemp={folder / 'tests'}")
    userland.run([str(python), "-m", "pytest", *options, str(ROOT / "tests" / "edge")])


def compare_stems(python: Path, folder: Path) -> None:
    """Separate natively and emulated, on both processors.

    Raises:
        ValueError: The results do not agree.
    """
    work = folder / "stems"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    song, example = work / "excerpt.wav", EDGE / "example" / "mixture.flac"
    rate = sf.info(example).samplerate
    part = {"start": int(START_SECONDS * rate), "frames": int(LENGTH_SECONDS * rate)}
    # 32-bit floats, so that the stems are not rounded.
    sf.write(song, sf.read(example, dtype="float32", **part)[0], rate, subtype="FLOAT")
    models = sorted((EDGE / "mmdense_edge" / "model").glob("*.tflite"))
    models += [ROOT / "tests" / "edge" / "data" / f"{name}.tflite" for name in FIXTURES]
    # The second processor differs in its int8 kernels alone, and a float model takes a minute.
    quantized = [path for path in models if read_contract(path).precision != "float32"]
    say(f"{LENGTH_SECONDS} s of the example on this machine")
    separate = [str(EDGE / "arm64" / "separate.py")]
    native = [sys.executable, *separate, str(work / "x86-64"), str(song), *map(str, models)]
    subprocess.run(native, check=True)
    too_far = 0
    for processor, chosen in zip(userland.PROCESSORS, (models, quantized), strict=True):
        userland.write_processor(folder / "root", processor)
        say(f"the same on {processor}")
        found = work / processor
        command = [str(python), *separate, str(found), str(song), *map(str, chosen)]
        userland.run(command, processor)
        for name in (f"{path.stem}.npz" for path in chosen):
            for line, passed in compare(found / name, work / "x86-64" / name):
                print(line)
                too_far += not passed
    if too_far:
        raise ValueError(f"{too_far} results are too far from this machine's")


def output_step(answer: np.ndarray) -> float:
    """Return the scale of an output: the least difference of its values if they are 256 or fewer.

    Args:
        answer: What a quantized model's network answered, any shape.

    Example:
        >>> round(output_step(np.array([0.0, 0.5, 0.75])), 3)
        0.25
    """
    values = np.unique(answer.astype(np.float64))
    if not 2 <= len(values) <= 256:
        return STEP
    # Values are float32 multiples of the scale: a little more room than their rounding.
    return float(np.diff(values).min() * (1 + 1e-4))


def compare(found: Path, expected: Path) -> Iterator[tuple[str, bool]]:
    """Compare two files written by `separate.py`.

    Stems of float32 models must agree to 1e-4. Of quantized models the network's answers must
    agree within one step of the output's scale; their stems are reported.

    Args:
        found: The file that is examined.
        expected: The reference.

    Yields:
        A line of a table, and whether the difference is allowed.

    Raises:
        ValueError: The files do not hold the same arrays, or arrays differ in shape.
    """
    arrays, references = (dict(np.load(path)) for path in (found, expected))
    shapes, wanted = ({n: a.shape for n, a in one.items()} for one in (arrays, references))
    if shapes != wanted or not wanted:
        raise ValueError(f"{found.stem}: arrays {shapes}, the reference has {wanted}")
    quantized = any(name.endswith("answer") for name in references)
    for name, reference in sorted(references.items()):
        limit = np.inf if quantized else MAX_DIFFERENCE
        if name.endswith("answer"):
            limit = output_step(reference)
        largest = float(np.abs(arrays[name].astype(np.float64) - reference).max())
        passed = largest <= limit  # NaN is not
        sdr = SDR()
        sdr.add(reference, arrays[name])
        quality = "equal" if largest == 0 else f"{sdr.value() or 0:.1f} dB"
        allowed = "reported" if limit == np.inf else f"at most {limit:.2g}"
        verdict = "ok" if passed else "TOO FAR"
        label = f"{found.stem}: {name}"
        yield f"{label:40} {largest:9.2e}  {allowed:15} {quality:>9}  {verdict}", passed


if __name__ == "__main__":
    sys.exit(main())
