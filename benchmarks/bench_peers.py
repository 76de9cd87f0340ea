"""This project beside other separators: speed, memory, size, start and training, in one run.

    python -m benchmarks.bench_peers --out peers                   # everything, see --help
    python -m benchmarks.bench_peers --out quick --peers edge-int8,openunmix --seconds 10 --rounds 1
    python -m benchmarks.peer_report peers/peers.json --page docs/peers.md

Four stems, from a generated WAV file to WAV files. Each system runs in an environment of its own,
which pip makes from the package index below --cache and which is used again; each measurement is a
process of its own, bound to as many cores as it may use threads; the systems take turns within a
round. Loading is left out of the real-time factor and told as the start. All weights but the
device model's are random: speed does not depend on them, and the stems are worthless.

The first of --seconds is measured in all rounds, the others in the first; systems marked slow (see
peers.py) in the first round only. On Linux the package index has PyTorch for CUDA, several
gigabytes; `--torch` and pip's own settings (an extra index, a folder of wheels) take the CPU build,
and the report says which was measured. Leave the machine alone meanwhile. Needs Linux and the
environment of `make env`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdense_edge import machine

from benchmarks import peer_report, peers
from benchmarks.bench_edge import write_song
from benchmarks.peer_arguments import arguments
from benchmarks.peers import PEERS, ROOT, Environment, Peer

COLD_SECONDS = 1


@dataclass(frozen=True)
class Run:
    """One measurement.

    Args:
        kind: "separate", "start" (a song of 1 s, loading included), "train" or "describe".
        peer: the system.
        threads: to use.
        seconds: of audio; 0 where there is none.
        number: of the round, from 0.
    """

    kind: str
    peer: Peer
    threads: int = 1
    seconds: float = 0
    number: int = 0


def plan(args: argparse.Namespace) -> list[Run]:
    """Returns all measurements in their order: the systems take turns.

    Args:
        args: what `arguments` returns.
    """
    first, *others = args.seconds
    runs = [Run("describe", peer) for peer in args.peers]
    runs += [Run("start", peer, 1, COLD_SECONDS) for peer in args.peers]
    for number in range(args.rounds):
        chosen = [peer for peer in args.peers if number == 0 or not peer.slow]
        for threads in args.threads:
            runs += [Run("separate", peer, threads, first, number) for peer in chosen]
    chosen = [peer for peer in args.peers if peer in args.long_peers]
    for seconds in others:
        for threads in args.long_threads:
            runs += [Run("separate", peer, threads, seconds) for peer in chosen]
    if args.steps:
        runs += [Run("train", peer) for peer in args.peers if peer.trains]
    return runs


def homes(chosen: Sequence[Peer], train: bool) -> list[Peer]:
    """Returns the systems whose environments are needed.

    Args:
        chosen: the systems to measure.
        train: also those in which some are trained.
    """
    names = {peer.home for peer in chosen}
    if train:
        names |= {peer.trains_in for peer in chosen if peer.trains and peer.trains_in}
    return [peer for peer in PEERS if peer.name in names]


class Bench:
    """Carries out measurements.

    Args:
        environments: by the system that they belong to.
        folder: for songs and stems; exists.
        files: with the models that `peer_prepare` made.
        steps: of training.
    """

    def __init__(
        self, environments: dict[str, Environment], folder: Path, files: Path, steps: int
    ) -> None:
        self.environments, self.folder, self.files = environments, folder, files
        self.steps = steps

    def song(self, seconds: float) -> Path:
        """Returns a song of a length, written at its first use."""
        path = self.folder / f"{seconds:g}.wav"
        if not path.exists():
            write_song(path, seconds)
        return path

    def run(self, one: Run) -> dict[str, Any]:
        """Returns what a measurement gave.

        Raises:
            RuntimeError: its process failed, with its last line.
        """
        peer, home = one.peer, one.peer.home
        task: dict[str, Any] = {"name": one.kind, "system": peer.system, "threads": one.threads}
        if one.kind == "train":
            task |= {"system": peer.trains, "steps": 1 if peer.slow else self.steps}
            home = peer.trains_in or home
        else:
            task["files"] = str(self.files)
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            if one.kind in ("separate", "start"):
                task |= {"name": "separate", "song": str(self.song(one.seconds)), "out": out}
            if one.kind == "separate" and not peer.slow:
                task["warm"] = str(self.song(COLD_SECONDS))
            return _in_process(self.environments[home].python, task)


def _in_process(python: str, task: dict[str, Any]) -> dict[str, Any]:
    limits = ("OMP", "MKL", "OPENBLAS")
    threads = str(task["threads"])
    environ = os.environ | {f"{name}_NUM_THREADS": threads for name in limits}
    environ |= {
        "TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": "1",
        "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "edge")]),
    }  # fmt: skip
    done = subprocess.run(
        [python, "-m", "benchmarks.peer_worker", json.dumps(task)],
        capture_output=True, text=True, errors="replace", check=False, env=environ, cwd=ROOT,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"the process ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(bench: Bench, runs: Sequence[Run], found: dict[str, Any]) -> Iterator[None]:
    """Carries out measurements into a report; stops after each, so that it can be kept.

    Args:
        bench: what measures.
        runs: what to measure.
        found: the report; `runs` and `errors` grow.
    """
    start = time.monotonic()
    for number, one in enumerate(runs):
        passed = time.monotonic() - start
        left = f", {passed / number * (len(runs) - number):.0f} s left" if number else ""
        length = f" {one.seconds:g} s" if one.seconds else ""
        _say(f"{number + 1} of {len(runs)}{left}: {one.peer.name} {one.kind}{length}, "
             f"{one.threads} thread(s)")  # fmt: skip
        entry = {"peer": one.peer.name, "kind": one.kind, "threads": one.threads,
                 "seconds": one.seconds, "round": one.number}  # fmt: skip
        try:
            found["runs"].append(entry | bench.run(one))
        except RuntimeError as error:
            found["errors"].append(entry | {"error": str(error)})
            _say(f"  failed: {error}")
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _head(args: argparse.Namespace, environments: dict[str, Environment]) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.bench_peers " + " ".join(args.given),
        "machine": machine.describe(),
        "labels": {peer.name: peer.label for peer in args.peers},
        "ours": [peer.name for peer in args.peers if peer.ours],
        "homes": {peer.name: peer.home for peer in args.peers},
        "environments": {name: one.as_json() for name, one in environments.items()},
        "runs": [],
        "errors": [],
    }


def _prepare(args: argparse.Namespace) -> tuple[dict[str, Environment], Path]:
    """Makes environments and model files."""
    environments = {
        peer.name: peers.environment(args.cache, peer, args.torch, _say, args.fresh)
        for peer in homes(args.peers, args.steps > 0)
    }
    files = args.cache / "models"
    if args.fresh and files.exists():
        shutil.rmtree(files)
    files.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.peer_prepare", str(files)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"peer_prepare ended with {done.returncode}: it needs `make env`")
    return environments, files


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if some measurements failed."""
    args = arguments(__doc__.splitlines()[0], argv)
    try:
        environments, files = _prepare(args)
        if args.install_only:
            return 0
        found = _head(args, environments)
        args.out.mkdir(parents=True)
        target = args.out / "peers.json"
        with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
            for _ in measure(
                Bench(environments, Path(folder), files, args.steps), plan(args), found
            ):
                aside = target.with_suffix(".part")
                aside.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
                aside.replace(target)
    except RuntimeError as error:
        print(f"bench_peers: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; what was measured is kept in {args.out}", file=sys.stderr)
        return 130
    print(peer_report.text(found))
    peer_report.write(found, args.out)
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
