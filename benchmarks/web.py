"""Speed and memory of the page in the browser, compared with `mmdense separate`.

    python -m benchmarks.web --rounds 5
    python -m benchmarks.web --memory 600

Each round runs, in turns, the runner and the page in a fresh Chromium, with two threads (or as many
as the page takes) and with one, on the same song and model: from the file to the stems' files, with
program and model loaded. The page's CPU time is that of its process. The least of the rounds
counts: what else the machine does only adds. `--memory SECONDS` separates a song of that length
once and prints the page's peak memory. Needs `make web` to have been run once (npm packages),
Chromium and `pip install .`.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf
from mmdense_edge.model import bundled

from benchmarks.harness import ROOT, command_parser, exit_code, number, run, table, timed
from benchmarks.peers.ours import Runner

SONG = ROOT / "edge" / "example" / "mixture.flac"
SECONDS = 60.0
# A name that Chromium does not take for a secure context: it gives such a page no threads.
PLAIN_HOST = "page.test"


def on_page(url: str, song: Path, model: str) -> dict[str, Any]:
    """Separate a song on the page; see edge/web/bench/page.mjs for what it returns."""
    script = str(ROOT / "edge" / "web" / "bench" / "page.mjs")
    return dict(json.loads(run(["node", script, url, str(song), model])))


def compare(url: str, song: Path, seconds: float, models: list[str], rounds: int) -> None:
    """Print the times per second of the song as a table: the least of interleaved rounds."""
    runs = []
    addresses = ((2, url), (1, url.replace("127.0.0.1", PLAIN_HOST)))
    for model, _, (threads, address) in itertools.product(models, range(rounds), addresses):
        page = on_page(address, song, model)
        runner = Runner((model,), threads, song.parent)
        _, *least = timed(partial(runner.file_to_files, song, song.parent))
        times = (page["seconds"], least[0], page["cpu_seconds"], least[1])
        runs.append((model, threads, page["backend"], *(time / seconds for time in times)))
    keys = ["model", "threads", "backend"]
    least = pd.DataFrame(runs, columns=[*keys, *"abcd"]).groupby(keys, sort=False).min()
    rows = []
    for (model, threads, backend), *times in least.itertuples(name=None):
        ratios = (times[0] / times[1], times[2] / times[3])
        figures = [f"{time:.3f}" for time in times] + [f"{ratio:.2f}" for ratio in ratios]
        rows.append([model, str(threads), backend, *figures])
    head = ["model", "threads", "the page has", "page", "runner", "page, CPU", "runner, CPU"]
    print(table([*head, "page / runner", "of CPU"], rows))


def memory(url: str, song: Path, seconds: float, model: str) -> None:
    """Print the peak memory of the page over a song of some length."""
    result = on_page(url, song, model)
    print(
        f"{model}, {seconds:.0f} s of stereo: {result['seconds']:.0f} s ({result['backend']})\n"
        f"peak of the page's process: {result['peak_mb']} MB; "
        f"before the song {result['idle_mb']} MB"
    )


@exit_code
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("web", __doc__)
    parser.add_argument("--rounds", type=number(int, 1, 100), default=5, help="of each measurement")
    parser.add_argument("--models", default="", metavar="A,B", help="names or files; default: all")
    parser.add_argument(
        "--memory", type=number(float, 1, 3600), metavar="SECONDS", help="only the peak memory"
    )
    args = parser.parse_args(argv)
    models = args.models.split(",") if args.models else bundled.names()
    command = [sys.executable, "-m", "mmdense_edge", "serve", "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert server.stdout is not None  # a pipe was asked for
        try:
            url = server.stdout.readline().split(" at ")[1].split(" ")[0]
            song, seconds = Path(folder, "song.flac"), args.memory or SECONDS
            audio, rate = sf.read(SONG, dtype="int16", always_2d=True)
            sf.write(song, np.resize(audio, (round(seconds * rate), audio.shape[1])), rate)
            if args.memory:
                memory(url, song, seconds, args.models or str(bundled.default()))
            else:
                compare(url, song, seconds, models, args.rounds)
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
