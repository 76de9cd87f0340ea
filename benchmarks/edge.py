"""What `mmdense bench` does not say of the runner: comparison, memory by length, installation.

    python -m benchmarks.edge speed                              # the bundled default
    python -m benchmarks.edge speed --model edge-int8.tflite --rounds 5 --json edge.json
    python -m benchmarks.edge memory --minutes 1,10,60           # 60 minutes need 4 GB of disk
    python -m benchmarks.edge install --extras live

`speed` compares the model with a network of Spleeter's shape: four stems, from a generated WAV file
to WAV files, one thread on one core, each case in a process of its own, in interleaved rounds. The
CPU real-time factor is user and system CPU seconds per second of audio, without loading, which is
measured separately. In the same rounds the model's network takes turns with a bare int8 convolution
(3x3, 256 maps), whose multiply-adds per second are the peak that the network's are a share of. They
are counted from the file's convolutions and over whole windows, context included. The networks of
Spleeter's shape have random weights, which does not change their speed. They work on whole windows
of 512 frames, 11.9 s, as Spleeter does: of 30 s they see 35.7. TensorFlow's converter makes their
int8 form; ReLUs behind transposed convolutions then stay outside XNNPACK. Leave the machine alone
meanwhile: the CPU time of a core that another program shares is not that of a free one.

`memory` separates stereo songs of several lengths. The figure is the maximum resident set that
Linux gives for the process, Python, the interpreter and the model included. It must not grow: the
command ends with 1 if the peaks differ by more than 5 %, or one is not under 250 MB.

`install` runs `pip install .` in a fresh environment and measures size, packages and CPU time of
imports. It needs only Python and pip, and ends with 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import call, number, numbers, run, say, table

DEVICE = "device model, `mmdense separate`"
KERAS = "Spleeter-shaped, Keras"
INT8 = "Spleeter-shaped, int8 TFLite"
CASES = (DEVICE, KERAS, INT8)

LOAD = (
    "import sys; from mmdense_edge.cli import main, separate_command; "
    "from mmdense_edge.separator import Separator; Separator(sys.argv[1])"
)
PEAK_MAPS, PEAK_PLACES = 256, (64, 64)
TURNS, PEAK_RUNS = 10, 5

MOST_BYTES, MOST_SPREAD = 250e6, 0.05

MAX_MEGABYTES, MAX_PACKAGES, REPEATS = 170, 14, 5
STATEMENTS = {
    "import mmdense_edge": "import mmdense_edge",
    "from mmdense_edge import Separator": "from mmdense_edge import Separator",
    "Separator()": "from mmdense_edge import Separator; Separator()",
}
_TIMED = "import time\nstart = time.process_time()\n{}\nprint(time.process_time() - start)"
_RUNTIME = (
    "from mmdense_edge.model.interpreter import interpreter_class; print(interpreter_class()[0])"
)


def write_song(path: Path, seconds: float) -> None:
    """Write music, 44.1 kHz stereo, 16 bits."""
    import soundfile as sf
    from mmdense_edge.bench.worker import CHANNELS, RATE, music

    with sf.SoundFile(path, "w", RATE, CHANNELS, "PCM_16") as file:
        for block in music(seconds):
            file.write(block)


def prepare(folder: str) -> None:
    """Write the bare convolution and the int8 Spleeter-shaped network into a folder."""
    import keras

    from benchmarks import spleeter_shape

    given = keras.Input((*PEAK_PLACES, PEAK_MAPS))
    bare = keras.Model(given, keras.layers.Conv2D(PEAK_MAPS, 3, padding="same")(given))
    peak = spleeter_shape.convert(bare, int8=True, int8_ends=True)
    Path(folder, "peak.tflite").write_bytes(peak)
    network = spleeter_shape.convert(spleeter_shape.build(), int8=True)
    Path(folder, "spleeter.tflite").write_bytes(network)


def networks_in_turns(model: str, peak: str) -> dict[str, float]:
    """Run a model's network and a bare convolution in turns, with one thread.

    Returns:
        network_s: CPU seconds of one run, the median; peak_s: of one convolution, the least.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreters = []
    for file in (model, peak):
        interpreter = Interpreter(model_content=Path(file).read_bytes(), num_threads=1)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        noise = np.random.default_rng(0).rayleigh(size=given["shape"]) * 10
        interpreter.set_tensor(given["index"], noise.astype(given["dtype"]))
        for _ in range(2):
            interpreter.invoke()
        interpreters.append(interpreter)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for interpreter, runs, found in zip(interpreters, (1, PEAK_RUNS), times, strict=True):
            for _ in range(runs):
                start = time.process_time()
                interpreter.invoke()
                found.append(time.process_time() - start)
    return {"network_s": statistics.median(times[0]), "peak_s": min(times[1])}


def spleeter(song: str, folder: str, model: str | None) -> dict[str, float]:
    """Separate a song with four Spleeter-shaped networks.

    Args:
        song: The file.
        folder: Where the stems go; it exists.
        model: A `.tflite`, which is loaded four times; None for Keras.

    Returns:
        cpu_s: From file to files; load_s: imports, networks and their first window.
    """
    start = time.process_time()
    import numpy as np

    from benchmarks import spleeter_shape

    if model is None:
        networks = [spleeter_shape.in_keras(spleeter_shape.build(seed)) for seed in range(4)]
    else:
        networks = [spleeter_shape.in_tflite(Path(model)) for _ in range(4)]
    shape = (1, spleeter_shape.FRAMES, spleeter_shape.BINS, spleeter_shape.CHANNELS)
    for network in networks:
        network(np.zeros(shape, np.float32))
    loaded = time.process_time()
    spleeter_shape.file_to_files(Path(song), Path(folder), networks)
    return {"cpu_s": time.process_time() - loaded, "load_s": loaded - start}


def speed_round(model: Path, folder: Path) -> dict[str, Any]:
    """Measure everything once: CPU seconds, with one thread.

    Args:
        model: The device model.
        folder: With `song.wav` and what `prepare` made; stems go below.

    Returns:
        cpu_s (from file to files) and load_s by case; network_s and peak_s.
    """
    one, song = harness.QUIET | harness.on_cpu(1), str(folder / "song.wav")

    def cpu_seconds(*arguments: str) -> float:
        usage = run([sys.executable, *arguments], one)[1]
        return float(usage.ru_utime + usage.ru_stime)

    load = cpu_seconds("-c", LOAD, str(model))
    whole = cpu_seconds("-m", "mmdense_edge", "separate", song, "--quiet", "--overwrite",
                        "--model", str(model), "-o", str(folder / "stems"))  # fmt: skip
    cpu_s, load_s = {DEVICE: whole - load}, {DEVICE: load}
    files = {"model": str(model), "peak": str(folder / "peak.tflite")}
    inside = call("benchmarks.edge:networks_in_turns", environ=one, **files)
    for case, file in ((KERAS, None), (INT8, str(folder / "spleeter.tflite"))):
        found = call("benchmarks.edge:spleeter", environ=one, song=song, folder=str(folder),
                     model=file)  # fmt: skip
        cpu_s[case], load_s[case] = found["cpu_s"], found["load_s"]
    return {"cpu_s": cpu_s, "load_s": load_s, **inside}


def speed_figures(work: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the tables of speed show, as JSON takes it.

    Args:
        work: seconds of audio; window_s, the seconds that one run of the network yields; and the
            multiply-adds of one run each: window_macs, peak_macs, spleeter_macs.
        rounds: As `speed_round` returns them; at least one.

    Returns:
        cpu_rtf, load_s and ratio by case; ratio is how many times the device model's CPU time a
        case took in the same round. peak_gmac_s, network_gmac_s, network_rtf, peak_share and
        network_share, of the time from file to files. All are least, median and largest.
        model_gmac_per_s and spleeter_gmac_per_s: billions of multiply-adds for a second of audio.
    """

    def spread(value: Any) -> tuple[float, float, float]:
        values = [value(one) for one in rounds]
        return min(values), statistics.median(values), max(values)

    def by_case(value: Any) -> dict[str, tuple[float, float, float]]:
        return {case: spread(partial(value, case)) for case in CASES}

    window_s, seconds = work["window_s"], work["seconds"]
    rate = work["window_macs"] / work["peak_macs"]
    return {
        "cpu_rtf": by_case(lambda case, one: one["cpu_s"][case] / seconds),
        "load_s": by_case(lambda case, one: one["load_s"][case]),
        "ratio": by_case(lambda case, one: one["cpu_s"][case] / one["cpu_s"][DEVICE]),
        "peak_gmac_s": spread(lambda one: work["peak_macs"] / one["peak_s"] / 1e9),
        "network_gmac_s": spread(lambda one: work["window_macs"] / one["network_s"] / 1e9),
        "network_rtf": spread(lambda one: one["network_s"] / window_s),
        "peak_share": spread(lambda one: rate * one["peak_s"] / one["network_s"]),
        "network_share": spread(
            lambda one: one["network_s"] / window_s / (one["cpu_s"][DEVICE] / seconds)
        ),
        "model_gmac_per_s": work["window_macs"] / window_s / 1e9,
        "spleeter_gmac_per_s": 4 * work["spleeter_macs"] / (512 * 1024 / 44100) / 1e9,
    }


def speed_tables(found: Mapping[str, Any]) -> str:
    """Return the figures of `speed_figures` as two Markdown tables."""

    def three(values: Sequence[float], form: str) -> str:
        return ", ".join(format(value, form) for value in values)

    rows = [
        [
            case,
            f"{found['model_gmac_per_s' if case == DEVICE else 'spleeter_gmac_per_s']:.2f}",
            three(found["cpu_rtf"][case], ".4f"),
            three(found["ratio"][case], ".2f"),
            f"{found['load_s'][case][1]:.2f}",
        ]
        for case in CASES
    ]
    head = ["four stems, file to files", "GMAC per s of audio", "CPU RTF: min, median, max",
            "times the device model", "loading, CPU s"]  # fmt: skip
    inside = [
        ["bare int8 convolution, GMAC/s", three(found["peak_gmac_s"], ".0f")],
        ["its network, GMAC/s", three(found["network_gmac_s"], ".0f")],
        ["share of the convolution's peak", three(found["peak_share"], ".1%")],
        ["its network alone, CPU RTF", three(found["network_rtf"], ".4f")],
        ["its network's share of the time", three(found["network_share"], ".1%")],
    ]
    title = ["inside the device model", "min, median, max"]
    return f"{table(head, rows)}\n\n{table(title, inside)}"


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print the comparison; return the report."""
    from mmdense_edge.bench import host
    from mmdense_edge.model import bundled
    from mmdense_edge.model.contract import load_model

    from benchmarks.spleeter_shape import multiply_adds

    model = load_model(bundled.find(args.model))
    core = None
    if hasattr(os, "sched_setaffinity"):
        core = max(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {core})
    contract, rounds = model.contract, []
    with tempfile.TemporaryDirectory(prefix="bench-edge-") as name:
        folder = Path(name)
        say("preparing the networks to compare with ...")
        call("benchmarks.edge:prepare", folder=name)
        write_song(folder / "song.wav", args.seconds)
        macs = [model.content]
        macs += [(folder / f"{one}.tflite").read_bytes() for one in ("peak", "spleeter")]
        counted = [sum(multiply_adds(content).values()) for content in macs]
        start = time.monotonic()
        for index in range(args.rounds):
            left = (time.monotonic() - start) / max(1, index) * (args.rounds - index)
            say(f"round {index + 1} of {args.rounds}" + (f", {left:.0f} s left" * (index > 0)))
            rounds.append(speed_round(model.path.resolve(), folder))
    hop_s = contract.transform.hop_length / contract.sample_rate
    work = {"seconds": args.seconds, "window_s": contract.step_frames * hop_s}
    work |= dict(zip(("window_macs", "peak_macs", "spleeter_macs"), counted, strict=True))
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {**host.describe("ai_edge_litert"), "core": core},
        "model": {"name": contract.name, "precision": contract.precision},
        "work": work, "figures": speed_figures(work, rounds), "rounds": rounds,
    }  # fmt: skip
    described = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    print(f"{args.seconds:g} s of audio, {args.rounds} rounds; {contract.name} "
          f"({contract.precision}); {described}; {report['date']}\n")  # fmt: skip
    print(speed_tables(report["figures"]))
    return report


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print peak memory by length; return the report."""
    from mmdense_edge.bench import host

    peaks = []
    for minutes in args.minutes:
        say(f"{minutes:g} minutes ...")
        with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
            song = Path(folder, "song.wav")
            write_song(song, minutes * 60)
            command = [sys.executable, "-m", "mmdense_edge", "separate", str(song), "--quiet"]
            command += ["-o", str(Path(folder, "out")), "--threads", str(args.threads)]
            command += ["--model", args.model] if args.model else []
            start = time.perf_counter()
            peak = run(command)[1].ru_maxrss * 1024
            seconds = time.perf_counter() - start
        peaks.append({"minutes": minutes, "peak_bytes": peak, "seconds": seconds})
    head = ["minutes", "peak memory, MB", "seconds"]
    print(table(head, [[f"{one['minutes']:g}", f"{one['peak_bytes'] / 1e6:.1f}",
                        f"{one['seconds']:.1f}"] for one in peaks]))  # fmt: skip
    judged = memory_passes([one["peak_bytes"] for one in peaks])
    print(f"\nwithin {MOST_SPREAD:.0%} of each other and under {MOST_BYTES / 1e6:g} MB: {judged}")
    return {"peaks": peaks, "passed": judged, "machine": host.describe()}


def memory_passes(peaks: Sequence[float]) -> bool:
    """Return whether peaks, in bytes, are within 5 % of each other and all under 250 MB."""
    return max(peaks) / min(peaks) - 1 <= MOST_SPREAD and max(peaks) < MOST_BYTES


def install(args: argparse.Namespace) -> dict[str, Any]:
    """Install the project into a fresh environment, measure and print it; return the report."""
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, "-m", "venv", folder])
        python = Path(folder, "bin", "python")
        wanted = f"{harness.ROOT}[{args.extras}]" if args.extras else str(harness.ROOT)
        run([str(python), "-m", "pip", "install", "--quiet", wanted])
        packages, megabytes = harness.packages_of(python)
        times = {
            name: statistics.median(
                float(run([str(python), "-I", "-c", _TIMED.format(code)])[0].splitlines()[-1])
                for _ in range(REPEATS)
            )
            for name, code in STATEMENTS.items()
        }
        interpreter = run([str(python), "-I", "-c", _RUNTIME])[0].strip()
    print(f"interpreter: {interpreter}; {time.strftime('%Y-%m-%d')}")
    print(f"size: {megabytes:.0f} MB, at most {MAX_MEGABYTES}")
    print(f"packages: {len(packages)}, at most {MAX_PACKAGES}")
    print("  " + ", ".join(f"{name} {version}" for name, version in packages.items()))
    for name, seconds in times.items():
        print(f"{name}: {seconds:.3f} CPU s")
    passed = megabytes <= MAX_MEGABYTES and len(packages) <= MAX_PACKAGES
    return {"interpreter": interpreter, "megabytes": megabytes, "packages": packages,
            "cpu_seconds": times, "passed": passed or bool(args.extras)}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="speed|memory|install")
    for measure in (speed, memory, install):
        command = commands.add_parser(
            measure.__name__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.set_defaults(measure=measure)
        command.add_argument("--json", type=harness.new_file, help="a new file for the figures")
        if measure is not install:
            command.add_argument("--model", help="a name or a file; the bundled one if None")
        if measure is speed:
            command.add_argument("--rounds", type=number(int, 1, 100), default=5)
            command.add_argument("--seconds", type=number(float, 1, 3600), default=30)
        elif measure is memory:
            command.add_argument("--minutes", type=numbers(float, 0.01, 600), default="1,10,60")
            command.add_argument("--threads", type=number(int, 1, 64), default=1)
        else:
            command.add_argument("--extras", help="such as plot,live; without limits")
    args = parser.parse_args(argv)

    def work() -> int:
        report = args.measure(args)
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        return 0 if report.get("passed", True) else 1

    return harness.finish("edge", work)


if __name__ == "__main__":
    sys.exit(main())
