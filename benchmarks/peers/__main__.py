"""This project and other separators: speed, memory, size and start, in one run.

    python -m benchmarks.peers --out peers                           # everything, half an hour
    python -m benchmarks.peers --out quick --peers edge-int8,openunmix --seconds 10 --rounds 1

Four stems, from a generated WAV file to WAV files. Each system runs in an environment of its own,
which pip makes below --cache and later runs use again. Each measurement is a process of its own,
bound to as many cores as it may use threads; the systems take turns within a round. The real-time
factor leaves loading out, for all systems; the start includes it. All weights but the device
model's are random: speed does not depend on them, and the stems are worthless.

The first of --seconds is measured in all rounds, the others in the first; slow systems (see
environments.py) in the first round only. On Linux the package index has PyTorch for CUDA, several
gigabytes; `--torch` and pip's own settings (an extra index, a folder of wheels) take the CPU build,
and the report says which was measured. Leave the machine alone meanwhile. Needs Linux and the
environment of `make env`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.edge import write_song
from benchmarks.harness import (
    call,
    command_parser,
    exit_code,
    new_path,
    number,
    numbers,
    on_cpu,
    say,
)
from benchmarks.peers import report
from benchmarks.peers.environments import NAMES, PEERS, environment

COLD_SECONDS = 1
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "keras-mmdense-peers"
# One measurement: peer, kind ("separate" or "start" (1 s, loading included)), threads, seconds of
# audio and round, from 0.
Run = dict[str, Any]


def plan(args: argparse.Namespace) -> list[Run]:
    """Return all measurements in their order: the systems take turns."""
    first, *others = args.seconds
    turns = [
        ("start", 1, COLD_SECONDS, 0),
        *(("separate", n, first, k) for k in range(args.rounds) for n in args.threads),
        *(("separate", n, seconds, 0) for seconds in others for n in args.threads),
    ]
    return [
        {"peer": peer.name, "kind": kind, "threads": threads, "seconds": seconds, "round": index}
        for kind, threads, seconds, index in turns
        for peer in args.peers
        if not (peer.slow and index)
    ]


def measure(args: argparse.Namespace, found: dict[str, Any]) -> int:
    """Carry out all measurements into a report, which is kept after each; return the exit code.

    Args:
        args: Of the command.
        found: The report to be; `environments`, `runs` and `errors` are added.
    """
    environments = {
        name: environment(args.cache, name, args.torch)
        for name in dict.fromkeys(peer.home for peer in args.peers)
    }
    told = ("packages", "megabytes", "requirements", "removed")
    found["environments"] = {n: {key: one[key] for key in told} for n, one in environments.items()}
    files = args.cache / "models"
    files.mkdir(parents=True, exist_ok=True)
    say("preparing the models ...")
    call("benchmarks.peers.ours:prepare", folder=str(files))
    found |= {"runs": [], "errors": []}
    args.out.mkdir()
    target, aside = args.out / "peers.json", args.out / "peers.part"
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        songs = {n: Path(folder, f"{n:g}.wav") for n in (COLD_SECONDS, *args.seconds)}
        for seconds, song in songs.items():
            write_song(song, seconds)
        measurements = plan(args)
        for index, one in enumerate(measurements, 1):
            described = ", ".join(f"{key} {value}" for key, value in one.items())
            say(f"{index} of {len(measurements)}: {described}")
            peer = PEERS[NAMES.index(one["peer"])]
            warm = one["kind"] == "separate" and not peer.slow
            try:
                found["runs"].append(one | call(
                    "benchmarks.peers.system:measure",
                    python=environments[peer.home]["python"],
                    environ=on_cpu(one["threads"]),
                    system=peer.system,
                    threads=one["threads"],
                    files=str(files),
                    song=str(songs[one["seconds"]]),
                    warm=str(songs[COLD_SECONDS]) if warm else None,
                ))  # fmt: skip
            except RuntimeError as error:
                found["errors"].append(one | {"error": str(error)})
                say(f"  failed: {error}")
            aside.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
            aside.replace(target)
    print(report.text(found))
    (args.out / "peers.md").write_text(report.text(found) + "\n", "utf-8")
    report.plot(found, args.out / "peers.png")
    return 1 if found["errors"] else 0


@exit_code
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if some measurements failed."""
    from mmdense_edge.bench import host

    parser = command_parser("peers", __doc__)
    cores, everyone = len(os.sched_getaffinity(0)), ",".join(NAMES)
    shown = "default: %(default)s"
    parser.add_argument("--out", type=new_path, required=True, help="a new folder")
    parser.add_argument("--peers", default=everyone, help=shown)
    parser.add_argument("--seconds", type=numbers(float, 1, 3600), default="30,180", help=shown)
    parser.add_argument("--threads", type=numbers(int, 1, cores), default="1,2", help=shown)
    parser.add_argument("--rounds", type=number(int, 1, 20), default=3, help=shown)
    parser.add_argument("--torch", default="torch==2.13.0", help=shown)
    parser.add_argument("--cache", type=Path, default=CACHE, help=shown)
    given = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(given)
    wanted = args.peers.split(",")
    if unknown := sorted(set(wanted) - set(NAMES)):
        parser.error(f"--peers must be some of {everyone}; received {', '.join(unknown)}")
    args.peers = [peer for peer in PEERS if peer.name in wanted]
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.peers " + " ".join(given),
        "machine": host.describe(),
        "labels": {peer.name: peer.label for peer in args.peers},
        "ours": [peer.name for peer in args.peers if peer.ours],
        "homes": {peer.name: peer.home for peer in args.peers},
    }
    return measure(args, found)


if __name__ == "__main__":
    sys.exit(main())
