"""One training step of the paper's model: audio seconds per second and peak memory.

Forward, backward and update of MMDenseNet for one source, in float32 and bfloat16, with and
without XLA, through the trainer's `fit`, beside a plain loop over `train_on_batch` of the same
compiled model. oneDNN's layers are on where the case says so, else where TensorFlow has them on by
itself; "as training.train" is with them and with training/kernel_gradient.py. Each case runs in a
process of its own; the rounds are interleaved.

Command: python -m benchmarks.bench_train --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

BASE = "plain Keras loop, float32"
ONEDNN = "fit, float32, oneDNN"
AS_TRAINED = "fit, float32, as training.train"
PLAIN = ("float32", False)
CASES = {
    BASE: ("float32", False, "loop"),
    "fit, float32": ("float32", False, "fit"),
    ONEDNN: ("float32", False, "fit"),
    AS_TRAINED: ("float32", False, "fit"),
    "fit, float32, XLA": ("float32", True, "fit"),
    "fit, bfloat16": ("bfloat16", False, "fit"),
    "fit, bfloat16, XLA": ("bfloat16", True, "fit"),
}


def main() -> None:
    """Run all cases and print a table, or one case when asked by the parent process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--float32", action="store_true", help="leave out bfloat16 and XLA")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(_measure(*CASES[args.case], args)))
        return
    names = [n for n, (p, jit, _) in CASES.items() if not args.float32 or (p, jit) == PLAIN]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(args.rounds):
        for name in names:
            found[name].append(_in_own_process(name, args))
            print(f"round {number + 1}, {name}: {found[name][-1]}", file=sys.stderr)
    _print_table(found)


def _in_own_process(name: str, args: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_train", "--case", name]
    for key in ("steps", "frames", "batch_size"):
        command += [f"--{key.replace('_', '-')}", str(getattr(args, key))]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if name in (ONEDNN, AS_TRAINED):
        environment["TF_ENABLE_ONEDNN_OPTS"] = "1"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _measure(precision: str, jit: bool, how: str, args: argparse.Namespace) -> dict[str, float]:
    """Return audio seconds per second, seconds until the first step is done, and peak memory."""
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_mmdense
    from training.kernel_gradient import speed_up

    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    model = keras_mmdense.build("mmdensenet", "vocals")
    if args.case == AS_TRAINED:
        speed_up(model)
    model.compile(keras.optimizers.RMSprop(1e-3), "mse", jit_compile=jit)
    rng = np.random.default_rng(0)
    shape = (args.batch_size, args.frames, 1024, 2)
    batch = tf.constant(rng.rayleigh(size=shape).astype(np.float32))
    data = tf.data.Dataset.from_tensors((batch, {"vocals": batch / 2})).repeat()

    def run(steps: int) -> float:
        start = time.perf_counter()
        if how == "fit":
            model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)
        else:
            for _ in range(steps):
                model.train_on_batch(batch, {"vocals": batch / 2})
        return time.perf_counter() - start

    first = run(1)
    run(1)
    seconds = run(args.steps)
    audio = args.steps * args.batch_size * args.frames * 1024 / 44100
    return {
        "audio_seconds_per_second": round(audio / seconds, 3),
        "first_step_seconds": round(first, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _print_table(found: dict[str, list[dict[str, float]]]) -> None:
    import keras
    import tensorflow as tf

    print(
        f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, TensorFlow "
        f"{tf.__version__}, Keras {keras.__version__}, {time.strftime('%Y-%m-%d')}\n"
    )
    print("| case | audio s per s | against the plain loop | first step, s | peak memory, MB |")
    print("|---|---|---|---|---|")
    for name, rounds in found.items():
        ratios = [
            one["audio_seconds_per_second"] / base["audio_seconds_per_second"]
            for one, base in zip(rounds, found[BASE], strict=True)
        ]
        cells = [
            statistics.median(one[key] for one in rounds)
            for key in ("audio_seconds_per_second", "first_step_seconds", "peak_memory_mb")
        ]
        print(
            f"| {name} | {cells[0]:.2f} | {statistics.median(ratios):.2f} | {cells[1]:.0f} | "
            f"{cells[2]:.0f} |"
        )


if __name__ == "__main__":
    main()
