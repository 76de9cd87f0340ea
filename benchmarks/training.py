"""One training step of the paper's model: audio seconds per second and peak memory.

    python -m benchmarks.training --rounds 3

Forward, backward and update of MMDenseNet for one source, in float32 and bfloat16, with and
without XLA, through the trainer's `fit`, compared with a plain loop over `train_on_batch` of the
same compiled model. oneDNN's layers are on where the case says so, else where TensorFlow has them
on by itself; "as training.train" is with them and with training/train/fast_layers.py. Each case
runs in a process of its own; the rounds are interleaved.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time

from benchmarks import harness
from benchmarks.harness import call, machine_line, number, say, table

BASE = "plain Keras loop, float32"
ONEDNN = "fit, float32, oneDNN"
AS_TRAINED = "fit, float32, as training.train"
CASES = {  # policy, XLA
    BASE: ("float32", False),
    "fit, float32": ("float32", False),
    ONEDNN: ("float32", False),
    AS_TRAINED: ("float32", False),
    "fit, float32, XLA": ("float32", True),
    "fit, bfloat16": ("mixed_bfloat16", False),
    "fit, bfloat16, XLA": ("mixed_bfloat16", True),
}
FIGURES = ("audio_seconds_per_second", "first_step_seconds", "peak_memory_mb")


def measure(case: str, steps: int, frames: int, batch_size: int) -> dict[str, float]:
    """Return audio seconds per second, seconds until the first step is done, and peak memory."""
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_mmdense
    from training.train.fast_layers import speed_up

    policy, jit = CASES[case]
    keras.config.set_dtype_policy(policy)
    model = keras_mmdense.build("mmdensenet", "vocals")
    if case == AS_TRAINED:
        speed_up(model)
    model.compile(keras.optimizers.RMSprop(1e-3), "mse", jit_compile=jit)
    shape = (batch_size, frames, 1024, 2)
    batch = tf.constant(np.random.default_rng(0).rayleigh(size=shape).astype(np.float32))
    data = tf.data.Dataset.from_tensors((batch, {"vocals": batch / 2})).repeat()

    def run(steps: int) -> float:
        start = time.perf_counter()
        if case == BASE:
            for _ in range(steps):
                model.train_on_batch(batch, {"vocals": batch / 2})
        else:
            model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)
        return time.perf_counter() - start

    first = run(1)
    run(1)
    audio = steps * batch_size * frames * 1024 / 44100
    values = (
        round(audio / run(steps), 3),
        round(first, 1),
        round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    )
    return dict(zip(FIGURES, values, strict=True))


def main() -> int:
    """Run the command; return its exit code."""
    parser = harness.parser("training", __doc__)
    parser.add_argument("--rounds", type=number(int, 1, 100), default=3)
    parser.add_argument("--steps", type=number(int, 1, 1000), default=4)
    parser.add_argument("--frames", type=number(int, 8, 4096), default=128)
    parser.add_argument("--batch-size", type=number(int, 1, 256), default=4)
    parser.add_argument("--float32", action="store_true", help="leave out bfloat16 and XLA")
    args = parser.parse_args()

    def work() -> None:
        names = [n for n, case in CASES.items() if not args.float32 or case == CASES[BASE]]
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
        for index in range(args.rounds):
            for name, rounds in found.items():
                rounds.append(call(
                    "benchmarks.training:measure",
                    environ={"TF_ENABLE_ONEDNN_OPTS": "1"} if name in (ONEDNN, AS_TRAINED) else {},
                    case=name, steps=args.steps, frames=args.frames, batch_size=args.batch_size,
                ))  # fmt: skip
                say(f"round {index + 1}, {name}: {rounds[-1]}")
        rows = []
        for name, rounds in found.items():
            ratio = statistics.median(
                one[FIGURES[0]] / base[FIGURES[0]]
                for one, base in zip(rounds, found[BASE], strict=True)
            )
            speed, first, memory = (
                statistics.median(one[key] for one in rounds) for key in FIGURES
            )
            rows.append([name, f"{speed:.2f}", f"{ratio:.2f}", f"{first:.0f}", f"{memory:.0f}"])
        head = [
            "case",
            "audio s per s",
            "against the plain loop",
            "first step, s",
            "peak memory, MB",
        ]
        print(f"{machine_line()}\n\n{table(head, rows)}")

    return harness.finish("training", work)


if __name__ == "__main__":
    sys.exit(main())
