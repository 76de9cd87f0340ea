"""The device model beside a network of Spleeter's shape: CPU seconds per second of audio.

    python -m benchmarks.bench_edge                              # the bundled default
    python -m benchmarks.bench_edge --model edge-int8.tflite --rounds 5 --json edge.json

Four stems, from a generated WAV file to WAV files, one thread on one core, each case in a process
of its own, in interleaved rounds. The CPU real-time factor is user and system CPU seconds per
second of audio; loading is measured apart: of `mmdense separate` in a process that only loads the
model. In the same rounds the model's network runs in turns with a bare int8 convolution (3x3, 256
maps), whose multiply-adds per second are the peak that the network's are a share of. They are
counted from the file's convolutions and over whole windows, context included.

The networks of Spleeter's shape have random weights, which does not change their speed; their stems
are worthless. They work on whole windows of 512 frames, 11.9 s, as Spleeter does: of 30 s they see
35.7. Their int8 form is what TensorFlow's converter makes of them; ReLUs behind transposed
convolutions then stay outside XNNPACK. The device model, too, fills its last window. The CPU time
of a core that another program shares is not that of a free one: leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import soundfile as sf
from mmdense_edge import bundled, machine
from mmdense_edge.bench_worker import CHANNELS, RATE, music
from mmdense_edge.contract import Model, load_model
from mmdense_edge.errors import MMDenseError

from benchmarks import multiply_adds
from benchmarks.edge_report import DEVICE, INT8, KERAS, Round, Work, figures, tables
from benchmarks.edge_worker import PEAK_FILE, SPLEETER_FILE

LOAD = (
    "import sys; from mmdense_edge import cli, separate_command; "
    "from mmdense_edge.separator import Separator; Separator(sys.argv[1])"
)
ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
MOST_ROUNDS, MOST_SECONDS = 100, 3600


def one_core() -> int | None:
    """Binds this process and its children to one core; returns its number, None if it cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def write_song(path: Path, seconds: float) -> None:
    """Writes music, 44.1 kHz stereo, 16 bits.

    Args:
        path: the file.
        seconds: its length.
    """
    with sf.SoundFile(path, "w", RATE, CHANNELS, "PCM_16") as file:
        for block in music(seconds):
            file.write(block)


def cpu_seconds(command: Sequence[str]) -> float:
    """Runs a command and returns its CPU seconds, user and system, its start included.

    Args:
        command: program and arguments.

    Raises:
        RuntimeError: it failed; with its last line.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | ONE_THREAD
    )
    assert process.stderr is not None  # a pipe was asked for
    errors = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(_last_line(errors.decode(errors="replace"), process.returncode))
    return usage.ru_utime + usage.ru_stime


def worker(name: str, **arguments: str) -> dict[str, Any]:
    """Carries out a task of `benchmarks.edge_worker` in a process of its own.

    Args:
        name: of the task.
        arguments: its arguments.

    Raises:
        RuntimeError: it failed; with its last line.
    """
    command = [sys.executable, "-m", "benchmarks.edge_worker"]
    done = subprocess.run(
        [*command, json.dumps({"name": name, **arguments})],
        capture_output=True, text=True, errors="replace", check=False,
        env=os.environ | ONE_THREAD, cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{name}: {_last_line(done.stderr, done.returncode)}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _last_line(text: str, code: int) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else f"the process ended with {code}"


def one_round(model: Path, song: Path, folder: Path, say: Callable[[str], None]) -> Round:
    """Measures everything once.

    Args:
        model: the device model.
        song: the file to separate.
        folder: with what `prepare` made; stems go below.
        say: called with what is measured next.
    """
    say("device model")
    load = cpu_seconds([sys.executable, "-c", LOAD, str(model)])
    command = [sys.executable, "-m", "mmdense_edge.cli", "separate", str(song), "--quiet"]
    command += ["--overwrite", "--model", str(model), "-o", str(folder / "stems")]
    whole = cpu_seconds(command)
    say("network and bare convolution")
    inside = worker("network", model=str(model), peak=str(folder / PEAK_FILE))
    say(KERAS)
    files = {"song": str(song), "folder": str(folder)}
    keras = worker("spleeter_keras", **files)
    say(INT8)
    int8 = worker("spleeter_int8", **files, model=str(folder / SPLEETER_FILE))
    return Round(
        {DEVICE: whole - load, KERAS: keras["cpu_s"], INT8: int8["cpu_s"]},
        {DEVICE: load, KERAS: keras["load_s"], INT8: int8["load_s"]},
        inside["network_s"],
        inside["peak_s"],
    )


def measure(model: Model, rounds: int, seconds: float) -> tuple[Work, list[Round]]:
    """Measures in rounds; nothing stays on the disk.

    Args:
        model: the device model.
        rounds: how many.
        seconds: of audio.
    """
    with tempfile.TemporaryDirectory(prefix="bench-edge-") as name:
        folder = Path(name)
        _say("preparing the networks to compare with ...")
        worker("prepare", folder=name)
        write_song(folder / "song.wav", seconds)
        work = _work(model, folder, seconds)
        found: list[Round] = []
        start = time.monotonic()
        for number in range(rounds):
            left = (time.monotonic() - start) / number * (rounds - number) if number else None
            say = partial(_say_round, f"round {number + 1} of {rounds}", left)
            found.append(one_round(model.path.resolve(), folder / "song.wav", folder, say))
    return work, found


def _work(model: Model, folder: Path, seconds: float) -> Work:
    contract = model.contract

    def macs(content: bytes) -> int:
        return sum(multiply_adds.count(content).values())

    return Work(
        seconds,
        contract.step_frames * contract.transform.hop_length / contract.sample_rate,
        macs(model.content),
        macs((folder / PEAK_FILE).read_bytes()),
        macs((folder / SPLEETER_FILE).read_bytes()),
    )


def _say_round(head: str, left: float | None, text: str) -> None:
    _say(f"{head}{'' if left is None else f', {left:.0f} s left'}: {text} ...")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(model: Model, work: Work, found: Sequence[Round], core: int | None) -> dict[str, Any]:
    """Returns everything that was measured, and on what, as JSON takes it.

    Args:
        model: the device model.
        work: what was done.
        found: the rounds.
        core: that all ran on; None if they were not bound to one.
    """
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {**machine.describe("ai_edge_litert"), "core": core},
        "model": {"name": model.contract.name, "precision": model.contract.precision},
        "work": asdict(work),
        "figures": figures(work, found),
        "rounds": [asdict(one) for one in found],
    }


def text(found: Mapping[str, Any]) -> str:
    """Returns a report as Markdown.

    Args:
        found: what `report` returns.
    """
    described = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    model, rounds = found["model"], len(found["rounds"])
    head = f"{found['work']['seconds']:g} s of audio, {rounds} rounds; "
    head += f"{model['name']} ({model['precision']}); {described}; {found['date']}"
    return f"{head}\n\n{tables(found['figures'])}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", metavar="NAME|FILE", help="default: the bundled default")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--seconds", type=float, default=30, metavar="S", help="default: 30")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    args = parser.parse_args(argv)
    if not 1 <= args.rounds <= MOST_ROUNDS:
        parser.error(f"--rounds must be from 1 to {MOST_ROUNDS}, got {args.rounds}")
    if not 1 <= args.seconds <= MOST_SECONDS:
        parser.error(f"--seconds must be from 1 to {MOST_SECONDS}, got {args.seconds:g}")
    if args.json and (args.json.exists() or not args.json.parent.is_dir()):
        parser.error(f"--json must name a new file in a folder that exists, got {args.json}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _arguments(argv)
    try:
        model = load_model(bundled.find(args.model))
        core = one_core()
        work, rounds = measure(model, args.rounds, args.seconds)
    except (MMDenseError, RuntimeError) as error:
        print(f"bench_edge: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    found = report(model, work, rounds, core)
    print(text(found))
    if args.json:
        with args.json.open("x", encoding="utf-8") as file:
            json.dump(found, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
