"""What `mmdense bench` does not measure: memory, the installation, latency through a sound card.

    python -m benchmarks.edge memory --minutes 1,10,60           # 60 minutes need 4 GB of disk
    python -m benchmarks.edge install --extras live
    python -m benchmarks.edge latency --model live.tflite --seconds 300

`memory` separates stereo songs of several lengths. The figure is the maximum resident set that
Linux gives for the process, Python, the interpreter and the model included. It must not grow: the
command ends with 1 if the peaks differ by more than 5 %, or one is not under 250 MB.

`install` runs `pip install .` in a fresh environment and measures size, packages and CPU time of
imports. It needs only Python and pip, and ends with 1 if a limit is exceeded.

`latency` measures `mmdense live` with the device `pulse`, from and to a null sink of a PulseAudio
server of its own. A click goes into its front every second and comes out at its rear; both are one
recording, and their distance is the latency. As root, the clients get a real-time priority below
that of the server's threads. It needs Linux with `apt install pulseaudio pulseaudio-utils
util-linux`, and ends with 1 if there was a drop-out or a fault of the card.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import (
    ROOT,
    call,
    command_parser,
    exit_code,
    machine_line,
    number,
    numbers,
    packages_of,
    run,
    say,
    table,
    timed,
)

RATE = 44100
MOST_BYTES, MOST_SPREAD = 250e6, 0.05
MAX_MEGABYTES, MAX_PACKAGES, REPEATS = 170, 14, 5
STATEMENTS = (
    "import mmdense_edge",
    "from mmdense_edge import Separator",
    "from mmdense_edge import Separator; Separator()",
)
_TIMED = "import time\nstart = time.process_time()\n{}\nprint(time.process_time() - start)"
_RUNTIME = (
    "from mmdense_edge.model.interpreter import interpreter_class; print(interpreter_class()[0])"
)


def write_song(path: Path, seconds: float) -> None:
    """Write music, 44.1 kHz stereo, 16 bits."""
    import soundfile as sf
    from mmdense_edge.bench.worker import open_song

    music = open_song(None, seconds)
    with sf.SoundFile(path, "w", music.sample_rate, music.channels, "PCM_16") as file:
        for block in music.blocks:
            file.write(block)


def memory(args: argparse.Namespace) -> int:
    """Measure and print peak memory by length; return 1 if it grows or is too much."""
    rows, peaks = [], []
    for minutes in args.minutes:
        say(f"{minutes:g} minutes ...")
        with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
            song = Path(folder, "song.wav")
            write_song(song, minutes * 60)
            command = [
                sys.executable, "-m", "mmdense_edge", "separate", str(song), "--quiet",
                "-o", str(Path(folder, "out")), "--threads", str(args.threads),
                *(["--model", args.model] if args.model else []),
            ]  # fmt: skip
            peak, seconds, _ = timed(partial(call, "benchmarks.edge:peak_memory", command=command))
        peaks.append(peak)
        rows.append([f"{minutes:g}", f"{peak / 1e6:.1f}", f"{seconds:.1f}"])
    passed = memory_passes(peaks)
    print(f"{machine_line()}\n\n{table(['minutes', 'peak memory, MB', 'seconds'], rows)}")
    print(f"\nwithin {MOST_SPREAD:.0%} of each other and under {MOST_BYTES / 1e6:g} MB: {passed}")
    return 0 if passed else 1


def peak_memory(command: Sequence[str]) -> int:
    """Run a command and return the maximum of its resident set, in bytes.

    The system keeps one maximum for all that a process has run: this one runs nothing else.
    """
    run(command)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def memory_passes(peaks: Sequence[float]) -> bool:
    """Return whether peaks, in bytes, are within 5 % of each other and all under 250 MB."""
    return max(peaks) / min(peaks) - 1 <= MOST_SPREAD and max(peaks) < MOST_BYTES


def latency(args: argparse.Namespace) -> int:
    """Measure `mmdense live` from card to card; return 1 if there was a drop-out."""
    # the server gives its own threads priority 5, as on a desktop
    first = ["chrt", "-f", "4"] if os.geteuid() == 0 else []
    form = ["--rate", str(RATE), "--format", "s16le", "--latency-msec", "20"]
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder, ExitStack() as stack:
        server = f"{folder}/native"
        names = {"PULSE_SERVER": f"unix:{server}", "PULSE_SOURCE": "microphone",
                 "PULSE_SINK": "speaker", "PULSE_RUNTIME_PATH": folder}  # fmt: skip
        environment = os.environ | names

        def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([*first, *command], env=environment, **options)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        # One null sink, so that both sides have one clock, as those of a sound card have: what is
        # played into its front is heard by the microphone, and its rear is the speaker.
        front, rear = "front-left,front-right", "rear-left,rear-right"
        part = f"remix=no channels=2 channel_map={front} master_channel_map"
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={server}",
            f"module-null-sink sink_name=card rate={RATE} channels=4 channel_map={front},{rear}",
            f"module-remap-sink sink_name=room master=card {part}={front}",
            f"module-remap-sink sink_name=speaker master=card {part}={rear}",
            f"module-remap-source source_name=microphone master=card.monitor {part}={front}",
        ]
        daemon = start(["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no",
                        "--exit-idle-time=-1", "--log-level=error",
                        *(f"--load={each}" for each in modules)])  # fmt: skip
        while subprocess.run(["pactl", "info"], env=environment, capture_output=True).returncode:
            time.sleep(0.1)
        if first:  # its main thread gives up the priority that it inherits
            run(["chrt", "-f", "-p", "4", str(daemon.pid)])
        recorder = start(["parec", "--device", "card.monitor", *form, "--channels", "4",
                          "--channel-map", f"{front},{rear}"], stdout=subprocess.PIPE)  # fmt: skip
        clicks = np.zeros((round(args.seconds), RATE), np.int16)
        clicks[:, 0] = 1 << 14
        song = Path(folder, "clicks")
        clicks.tofile(song)
        start(["pacat", "--playback", "--device", "room", *form, "--channels", "1", str(song)])
        heard = ThreadPoolExecutor(1).submit(clicks_of, recorder.stdout)
        command = [*first, sys.executable, "-m", "mmdense_edge", "live", "card", "--mix", "all",
                   "--input-device", "pulse", "--output-device", "pulse", "--json",
                   "--seconds", str(args.seconds), "--buffer", str(args.buffer),
                   *(["--model", args.model] if args.model else [])]  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run_report = json.loads(run(command, environment).splitlines()[-1])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    into, out = heard.result()
    delays = [1000 * (place - into[into < place].max()) / RATE for place in out]
    figures = f"{statistics.median(delays):.0f} ms ({min(delays):.0f} to {max(delays):.0f})"
    print(f"{machine_line()}\n")
    print(f"{len(delays)} clicks: {figures}; of it, mmdense plans "
          f"{1000 * run_report['latency']['total_seconds']:.0f} ms")  # fmt: skip
    print(f"{args.seconds:g} s: {run_report['dropouts']} drop-outs, "
          f"{run_report['device_faults']} faults of the card, "
          f"{cpu / args.seconds:.1%} of a core, start included")  # fmt: skip
    return int(run_report["dropouts"] + run_report["device_faults"] > 0)


def clicks_of(stream: Any) -> list[Any]:
    """Return the samples at which clicks begin in the front and in the rear of a recording.

    Args:
        stream: 16-bit samples of four channels: front left and right, rear left and right.
    """
    found: list[list[int]] = [[], []]
    received = 0
    while data := stream.read(RATE // 10 * 8):
        block = np.frombuffer(data[: len(data) // 8 * 8], np.int16).reshape(-1, 4)
        for places, side in zip(found, block[:, ::2].T, strict=True):
            for place in received + np.flatnonzero(side > 1 << 12):
                if not places or place - places[-1] > RATE // 2:
                    places.append(place)
        received += len(block)
    return [np.array(places) for places in found]


def install(args: argparse.Namespace) -> int:
    """Install the project into a fresh environment, measure it; return 1 if it is too large."""
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, "-m", "venv", folder])
        python = Path(folder, "bin", "python")
        wanted = f"{ROOT}[{args.extras}]" if args.extras else str(ROOT)
        run([str(python), "-m", "pip", "install", "--quiet", wanted])
        packages, megabytes = packages_of(python)
        interpreter = run([str(python), "-I", "-c", _RUNTIME]).strip()
        print(
            f"interpreter: {interpreter}; {time.strftime('%Y-%m-%d')}\n"
            f"size: {megabytes:.0f} MB, at most {MAX_MEGABYTES}\n"
            f"packages: {len(packages)}, at most {MAX_PACKAGES}\n"
            "  " + ", ".join(f"{name} {version}" for name, version in packages.items())
        )
        for statement in STATEMENTS:
            command = [str(python), "-I", "-c", _TIMED.format(statement)]
            times = [float(run(command).splitlines()[-1]) for _ in range(REPEATS)]
            print(f"{statement}: {statistics.median(times):.3f} CPU s")
    passed = megabytes <= MAX_MEGABYTES and len(packages) <= MAX_PACKAGES
    return 0 if passed or args.extras else 1


@exit_code
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if a limit is exceeded."""
    parser = command_parser("edge", __doc__)
    commands = parser.add_subparsers(required=True, metavar="memory|install|latency")
    shown = argparse.ArgumentDefaultsHelpFormatter
    command = commands.add_parser("memory", formatter_class=shown)
    command.set_defaults(measure=memory)
    command.add_argument("--model", help="a name or a file; the bundled one if None")
    command.add_argument("--minutes", type=numbers(float, 0.01, 600), default="1,10,60")
    command.add_argument("--threads", type=number(int, 1, 64), default=1)
    command = commands.add_parser("install", formatter_class=shown)
    command.set_defaults(measure=install)
    command.add_argument("--extras", help="such as plot,live; without limits")
    command = commands.add_parser("latency", formatter_class=shown)
    command.set_defaults(measure=latency)
    command.add_argument("--model", help="a name or a file; the bundled one if None")
    command.add_argument("--seconds", type=number(float, 5, 86400), default=300)
    command.add_argument("--buffer", type=number(float, 0, 1), default=0.0, help="in seconds")
    args = parser.parse_args(argv)
    return int(args.measure(args))


if __name__ == "__main__":
    sys.exit(main())
