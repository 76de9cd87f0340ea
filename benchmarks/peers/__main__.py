"""This project and other separators: speed, memory, size, start and training, in one run.

    python -m benchmarks.peers --out peers                           # everything, half an hour
    python -m benchmarks.peers --out quick --peers edge-int8,openunmix --seconds 10 --rounds 1

Four stems, from a generated WAV file to WAV files. Each system runs in an environment of its own,
which pip makes below --cache and later runs use again. Each measurement is a process of its own,
bound to as many cores as it may use threads; the systems take turns within a round. The real-time
factor leaves loading out, which is reported as the start. All weights but the device model's are
random: speed does not depend on them, and the stems are worthless.

The first of --seconds is measured in all rounds, the others in the first; slow systems (see
environments.py) in the first round only. On Linux the package index has PyTorch for CUDA, several
gigabytes; `--torch` and pip's own settings (an extra index, a folder of wheels) take the CPU build,
and the report says which was measured. Leave the machine alone meanwhile. Needs Linux and the
environment of `make env`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.edge import write_song
from benchmarks.harness import call, finish, number, numbers, on_cpu, say
from benchmarks.peers import report
from benchmarks.peers.environments import NAMES, PEERS, Peer, environment, homes

COLD_SECONDS = 1
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "keras-mmdense-peers"
# One measurement: peer, kind ("separate", "start" (1 s, loading included), "train" or "describe"),
# threads, seconds of audio (0 if there is none) and round, from 0.
Run = dict[str, Any]


def plan(args: argparse.Namespace) -> list[Run]:
    """Return all measurements in their order: the systems take turns."""

    def turns(
        kind: str, peers: Sequence[Peer], threads: int = 1, seconds: float = 0, index: int = 0
    ) -> list[Run]:
        common = {"kind": kind, "threads": threads, "seconds": seconds, "round": index}
        return [{"peer": peer.name, **common} for peer in peers]

    first, *others = args.seconds
    runs = turns("describe", args.peers) + turns("start", args.peers, 1, COLD_SECONDS)
    for index in range(args.rounds):
        chosen = [peer for peer in args.peers if index == 0 or not peer.slow]
        for threads in args.threads:
            runs += turns("separate", chosen, threads, first, index)
    for seconds in others:
        for threads in args.threads:
            runs += turns("separate", args.peers, threads, seconds)
    return runs + turns("train", [peer for peer in args.peers if peer.trains and args.steps])


def carry_out(
    one: Run, environments: dict[str, dict[str, Any]], songs: Path, files: Path, steps: int
) -> dict[str, Any]:
    """Return what a measurement gave.

    Args:
        one: The measurement.
        environments: By name.
        songs: Folder for songs, each written at its first use, and for stems.
        files: Folder with what `ours.prepare` made.
        steps: Of training.

    Raises:
        RuntimeError: Its process failed; the message is its last line.
    """
    peer = PEERS[NAMES.index(one["peer"])]
    home = (one["kind"] == "train" and peer.trains_in) or peer.home
    task = {
        "python": environments[home]["python"], "environ": on_cpu(one["threads"]),
        "system": peer.system, "threads": one["threads"],
    }  # fmt: skip
    found: dict[str, Any]
    if one["kind"] == "train":
        found = call("benchmarks.peers.system:train", **task, steps=1 if peer.slow else steps)
    elif one["kind"] == "describe":
        found = call("benchmarks.peers.system:describe", **task, files=str(files))
    else:
        for seconds in (COLD_SECONDS, one["seconds"]):
            if not (songs / f"{seconds:g}.wav").exists():
                write_song(songs / f"{seconds:g}.wav", seconds)
        warm = one["kind"] == "separate" and not peer.slow
        with tempfile.TemporaryDirectory(dir=songs) as out:
            found = call(
                "benchmarks.peers.system:separate", **task, files=str(files), out=out,
                song=str(songs / f"{one['seconds']:g}.wav"),
                warm=str(songs / f"{COLD_SECONDS:g}.wav") if warm else None,
            )  # fmt: skip
    return found


def measure(
    runs: Sequence[Run], found: dict[str, Any], work: Callable[[Run], dict[str, Any]]
) -> Iterator[None]:
    """Carry out measurements into a report; stop after each, so that it can be kept.

    Args:
        runs: What to measure.
        found: The report; `runs` and `errors` grow.
        work: What carries out one.
    """
    start = time.monotonic()
    for index, one in enumerate(runs):
        left = (time.monotonic() - start) / max(1, index) * (len(runs) - index)
        say(f"{index + 1} of {len(runs)}{f', {left:.0f} s left' * (index > 0)}: "
            f"{', '.join(f'{key} {value}' for key, value in one.items())}")  # fmt: skip
        try:
            found["runs"].append(one | work(one))
        except RuntimeError as error:
            found["errors"].append(one | {"error": str(error)})
            say(f"  failed: {error}")
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if some measurements failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    cores, everyone = len(os.sched_getaffinity(0)), ",".join(NAMES)
    shown = "default: %(default)s"
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--peers", default=everyone, help=shown)
    parser.add_argument("--seconds", type=numbers(float, 1, 3600), default="30,180", help=shown)
    parser.add_argument("--threads", type=numbers(int, 1, cores), default="1,2", help=shown)
    parser.add_argument("--rounds", type=number(int, 1, 20), default=3, help=shown)
    parser.add_argument("--steps", type=number(int, 0, 20), default=2, help="of training; " + shown)
    parser.add_argument("--torch", default="torch==2.13.0", help=shown)
    parser.add_argument("--cache", type=Path, default=CACHE, help=shown)
    given = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(given)
    wanted = args.peers.split(",")
    if unknown := sorted(set(wanted) - set(NAMES)):
        parser.error(f"--peers must be some of {everyone}; received {', '.join(unknown)}")
    if args.out.exists():
        parser.error(f"--out must name a new folder; received {args.out}")
    args.peers = [peer for peer in PEERS if peer.name in wanted]
    return finish("peers", lambda: _work(args, given))


def _work(args: argparse.Namespace, given: Sequence[str]) -> int:
    from mmdense_edge.bench import host

    environments = {
        name: environment(args.cache, name, args.torch)
        for name in homes(args.peers, args.steps > 0)
    }
    files = args.cache / "models"
    files.mkdir(parents=True, exist_ok=True)
    say("preparing the models ...")
    call("benchmarks.peers.ours:prepare", folder=str(files))
    told = ("packages", "megabytes", "requirements", "removed")
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.peers " + " ".join(given),
        "machine": host.describe(),
        "labels": {peer.name: peer.label for peer in args.peers},
        "ours": [peer.name for peer in args.peers if peer.ours],
        "homes": {peer.name: peer.home for peer in args.peers},
        "environments": {
            name: {key: one[key] for key in told} for name, one in environments.items()
        },
        "runs": [],
        "errors": [],
    }
    args.out.mkdir(parents=True)
    target, aside = args.out / "peers.json", args.out / "peers.part"
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as songs:

        def work(one: Run) -> dict[str, Any]:
            return carry_out(one, environments, Path(songs), files, args.steps)

        for _ in measure(plan(args), found, work):
            aside.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
            aside.replace(target)
    print(report.text(found))
    (args.out / "peers.md").write_text(report.text(found) + "\n", "utf-8")
    report.plot(found, args.out / "peers.png")
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
