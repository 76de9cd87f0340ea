"""Speed and memory of the page in the browser, compared with the runner on the same machine.

    python -m benchmarks.web --rounds 3
    python -m benchmarks.web --memory 600

Each round runs, in turns, the runner and the page in a fresh Chromium, with two threads (or as many
as the page takes) and with one, on the same song and model. The least of the rounds counts: what
else the machine does only adds. Neither figure counts decoding and start. `--memory SECONDS`
separates a song of that length once and prints the page's peak memory. Needs `make web` to have
been run once (npm packages), Chromium and `pip install .`.
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
from mmdense_edge import Separator
from mmdense_edge.model import bundled

from benchmarks.harness import ROOT, command_parser, exit_code, number, run, table, timed

SONG = ROOT / "edge" / "example" / "mixture.flac"
# A name that Chromium does not take for a secure context: it gives such a page no threads.
PLAIN_HOST = "page.test"


def on_page(url: str, song: Path, model: str) -> dict[str, Any]:
    """Separate a song on the page; see edge/web/bench/page.mjs for what it returns."""
    script = str(ROOT / "edge" / "web" / "bench" / "page.mjs")
    return dict(json.loads(run(["node", script, url, str(song), model])))


def compare(url: str, models: list[str], rounds: int) -> None:
    """Print the real-time factors as a table: the least of interleaved rounds."""
    audio, rate = sf.read(SONG, dtype="float32", always_2d=True)
    length = len(audio) / rate
    runs = []
    addresses = ((2, url), (1, url.replace("127.0.0.1", PLAIN_HOST)))
    for model, _, (threads, address) in itertools.product(models, range(rounds), addresses):
        result = on_page(address, SONG, model)
        separator = Separator(model, threads)
        _, seconds, _ = timed(partial(separator.separate, audio, rate))
        factors = (result["seconds"] / length, seconds / length)
        runs.append((model, threads, result["backend"], *factors))
    columns = ["model", "threads", "backend", "page", "runner"]
    least = pd.DataFrame(runs, columns=columns).groupby(columns[:3], sort=False).min()
    rows = [
        [model, str(threads), f"{page:.3f}", backend, f"{runner:.3f}", f"{page / runner:.1f}"]
        for (model, threads, backend), page, runner in least.itertuples(name=None)
    ]
    print(table(["model", "threads", "page", "its backend", "runner", "page / runner"], rows))


def memory(url: str, model: str, seconds: float) -> None:
    """Print the peak memory of the page over a song of some length."""
    audio, rate = sf.read(SONG, dtype="int16", always_2d=True)
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder, "song.flac")
        sf.write(song, np.resize(audio, (round(seconds * rate), audio.shape[1])), rate)
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
    parser.add_argument("--rounds", type=number(int, 1, 100), default=3, help="of each measurement")
    parser.add_argument("--models", default="", metavar="A,B", help="default: all bundled")
    parser.add_argument(
        "--memory", type=number(float, 1, 3600), metavar="SECONDS", help="only the peak memory"
    )
    args = parser.parse_args(argv)
    models = args.models.split(",") if args.models else bundled.names()
    command = [sys.executable, "-m", "mmdense_edge", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None  # a pipe was asked for
        try:
            url = server.stdout.readline().split(" at ")[1].split(" ")[0]
            if args.memory:
                memory(url, args.models or str(bundled.default()), args.memory)
            else:
                compare(url, models, args.rounds)
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
