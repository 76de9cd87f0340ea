"""Training speed: the step alone, the data pipeline alone, and both together, on any backend.

    python -m benchmarks.training                                  # the backend of KERAS_BACKEND
    python -m benchmarks.training --systems plain tensorflow jax
    python -m benchmarks.training --preset mmdensenet --batch-size 4 --systems tensorflow pytorch

Systems: "tensorflow", "jax" and "torch" train with this backend as `python -m training.train` does,
"plain" with TensorFlow but without training/train/fast_layers.py, and "pytorch" is the paper's
network of benchmarks/peers/mmdensenet_torch.py (preset mmdensenet, no data, needs no Keras).

The step is forward, backward and RMSprop's update for a batch of magnitudes that is ready. The
pipeline reads excerpts of generated 16-bit WAV files. Together, a `TrainingModel` mixes and
transforms them on the device, as in training. Each measurement is a process of its own, the systems
take turns, and the figures are medians over the rounds. The peak is that of a product of two
matrices of 2048 x 2048 in the same precision and process; a step counts as three times the
multiply-adds of the network.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product, repeat
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import ENDLESS, make_tree
from benchmarks.harness import (
    call,
    command_parser,
    exit_code,
    machine_line,
    number,
    say,
    shown,
    table,
    timed,
)

# The variables of the systems that train with Keras.
ENVIRONS = {
    "tensorflow": {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"},
    "jax": {"KERAS_BACKEND": "jax"},
    "torch": {"KERAS_BACKEND": "torch"},
    "plain": {"KERAS_BACKEND": "tensorflow"},
}
SYSTEMS = (*ENVIRONS, "pytorch")
MEASURED = ["step", "cpu", "memory", "product", "pipeline", "together", "waiting"]
PRECISIONS = ("float32", "bfloat16")
PEAK_SIZE = 2048
WARM_STEPS = 2


def work_of(preset: str, frames: int) -> dict[str, float]:
    """Return the multiply-adds and the seconds of audio of one excerpt."""
    import keras_mmdense
    from keras_mmdense.inspection import multiply_adds

    model = keras_mmdense.build(preset)
    settings = keras_mmdense.settings_of(model)
    audio = frames * settings.transform.hop_length / settings.sample_rate
    return {"multiply_adds": multiply_adds(model, frames), "audio": audio}


def best(work: Callable[[], Any], times: int) -> float:
    """Return the seconds of the fastest of some runs, after one that does not count."""
    return min([timed(work)[1] for _ in range(1 + times)][1:])


def measure(
    system: str, precision: str, preset: str, frames: int, batch_size: int, steps: int, data: str,
    site: str,
) -> dict[str, float]:  # fmt: skip
    """Return seconds of a step, of a batch of the pipeline, of both, and of the peak's product.

    Args:
        system: One of `ENVIRONS`; its backend is this process'.
        precision: One of `PRECISIONS`.
        preset: Of `keras_mmdense.build`, with its default sources.
        frames: Frames of an excerpt.
        batch_size: Excerpts of a batch.
        steps: Steps to time, after `WARM_STEPS`.
        data: A data set; "" leaves out the pipeline.
        site: A folder of packages with torch; "" for this interpreter's own.
    """
    sys.path += [site] * bool(site)
    import keras
    from mmdense_edge.bench.host import peak_memory_bytes

    import keras_mmdense
    from keras_mmdense.data import open_dataset, training_set
    from keras_mmdense.data.pipeline import measure_waiting

    on_tensorflow = keras.config.backend() == "tensorflow"
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    model = keras_mmdense.build(preset)
    if on_tensorflow:
        import tensorflow as tf

        if system != "plain" and not tf.config.get_visible_devices("GPU"):
            from training.train.fast_layers import speed_up

            speed_up(model)

    def fit(trained: keras.Model, batches: Any, waited: Callable[[], float]) -> list[float]:
        """Return the seconds of a step, those of the processor, and those that waited for data."""
        marks = []

        def mark(step: int, logs: dict[str, Any]) -> None:
            float(logs["loss"])  # waits for the device
            marks.append((time.perf_counter(), time.process_time(), waited()))

        trained.compile(
            keras.optimizers.RMSprop(1e-3), "mse", jit_compile=keras.config.backend() == "jax"
        )
        trained.fit(
            batches, steps_per_epoch=WARM_STEPS + steps, verbose=0, shuffle=False,
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=mark)],
        )  # fmt: skip
        return list(map(float, np.subtract(marks[-1], marks[WARM_STEPS - 1]) / steps))

    shape = (batch_size, frames, *model.input.shape[2:])
    magnitude = np.random.default_rng(0).rayleigh(size=shape).astype(np.float32)
    batch = magnitude, {name: magnitude / 2 for name in model.output}
    repeated: Any = (one for one in repeat(batch))
    if on_tensorflow:
        repeated = tf.data.Dataset.from_tensors(batch).repeat()
    step, cpu, _ = fit(model, repeated, lambda: 0.0)
    found = {"step": step, "cpu": cpu, "memory": float(peak_memory_bytes() or 0)}
    matrix = keras.ops.ones((PEAK_SIZE, PEAK_SIZE), precision)
    found["product"] = best(lambda: float(keras.ops.matmul(matrix, matrix)[0, 0]), 5)
    if data:
        trainer = keras_mmdense.TrainingModel(model, frames)
        batches = training_set(open_dataset(data), trainer, batch_size=batch_size, examples=ENDLESS)
        stream = iter(batches)
        found["pipeline"] = best(lambda: [next(stream) for _ in range(steps)], 3) / steps
        if on_tensorflow:
            batches, seconds = measure_waiting(batches)
            times = fit(trainer, batches, lambda: float(seconds))
        else:
            times = fit(trainer, batches, lambda: batches.waited)
        found["together"], _, found["waiting"] = times
    return found


def measure_pytorch(
    precision: str, frames: int, batch_size: int, steps: int, site: str
) -> dict[str, float]:
    """Return the seconds of a step of the paper's network on PyTorch, and of the peak's product.

    Args:
        precision: One of `PRECISIONS`; bfloat16 is PyTorch's autocast.
        frames: Frames of an excerpt.
        batch_size: Excerpts of a batch.
        steps: Steps to time, after `WARM_STEPS`.
        site: A folder of packages with torch; "" for this interpreter's own.
    """
    sys.path += [site] * bool(site)
    import torch
    from mmdense_edge.bench.host import peak_memory_bytes

    from benchmarks.peers.mmdensenet_torch import BINS, CHANNELS, LAST, MMDenseNet

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = MMDenseNet().to(device, memory_format=LAST).train()
    optimizer = torch.optim.RMSprop(network.parameters(), 1e-3)
    mixture = torch.rand(batch_size, CHANNELS, frames, BINS).to(device, memory_format=LAST)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            estimate = network(mixture)
        loss = torch.square(estimate.float() - mixture / 2).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(WARM_STEPS):
        step()
    _, wall, cpu = timed(lambda: [step() for _ in range(steps)])
    memory = float(peak_memory_bytes() or 0)  # without the product
    matrix = torch.ones(PEAK_SIZE, PEAK_SIZE, dtype=getattr(torch, precision), device=device)
    return {
        "step": wall / steps,
        "cpu": cpu / steps,
        "memory": memory,
        "product": best(lambda: (matrix @ matrix)[0, 0].item(), 5),
    }


def report(
    found: dict[tuple[str, str], list[dict[str, float]]], batch_size: int, work: dict[str, float]
) -> str:
    """Return the table of all cases.

    Args:
        found: Answers of the rounds, by system and precision.
        batch_size: Excerpts of a batch.
        work: Of `work_of`.
    """
    import pandas as pd  # not at the top: the processes that measure their memory need none

    audio = batch_size * work["audio"]
    products = 3 * batch_size * work["multiply_adds"] / PEAK_SIZE**3  # in one step
    base = pd.DataFrame(next(iter(found.values())))
    rows = []
    for case, rounds in found.items():
        one = pd.DataFrame(rounds, columns=MEASURED)
        columns = {
            "step, ratio": (".2f", base["step"] / one["step"]),
            "step, audio s per s": (".2f", audio / one["step"]),
            "per CPU s": (".2f", audio / one["cpu"]),
            "share of the peak": (".0%", products * one["product"] / one["step"]),
            "pipeline": (".0f", audio / one["pipeline"]),
            "together": (".2f", audio / one["together"]),
            "waiting": (".1%", one["waiting"] / one["together"]),
            "peak memory, MB": (".0f", one["memory"] / 1e6),
        }
        rows.append([", ".join(case), *(shown(x.median(), form) for form, x in columns.values())])
    return table(["case", *columns], rows)


@exit_code
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("training", __doc__)
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, default=[backend],
        help=f"default {backend}",
    )  # fmt: skip
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS,
        help="default both",
    )  # fmt: skip
    parser.add_argument("--preset", default="mmdensenet-edge", help="default mmdensenet-edge")
    parser.add_argument("--rounds", type=number(int, 1, 100), default=3, help="default 3")
    parser.add_argument("--steps", type=number(int, 1, 1000), default=4, help="default 4")
    parser.add_argument("--frames", type=number(int, 8, 4096), default=128, help="default 128")
    parser.add_argument("--batch-size", type=number(int, 1, 256), default=8, help="default 8")
    parser.add_argument("--step-only", action="store_true", help="leave out the pipeline")
    parser.add_argument("--torch", default="", help="folder of packages with torch")
    args = parser.parse_args(argv)
    if "pytorch" in args.systems and args.preset != "mmdensenet":
        parser.error(
            f"system pytorch has --preset mmdensenet; received {args.preset}. Leave it out."
        )
    common = {name: getattr(args, name) for name in ("frames", "batch_size", "steps")}
    load = call(
        "benchmarks.training:work_of", environ={"KERAS_BACKEND": backend}, preset=args.preset,
        frames=args.frames,
    )  # fmt: skip
    found = {(s, precision): [] for precision in args.precisions for s in args.systems}
    with tempfile.TemporaryDirectory() as folder:
        data = "" if args.step_only else str(make_tree(Path(folder, "data"), "wav", "PCM_16"))
        for index, ((system, precision), rounds) in product(range(args.rounds), found.items()):
            given = {**common, "precision": precision, "site": args.torch}
            if system == "pytorch":
                rounds.append(call("benchmarks.training:measure_pytorch", **given))
            else:
                rounds.append(call(
                    "benchmarks.training:measure", environ=ENVIRONS[system], system=system,
                    preset=args.preset, data=data, **given,
                ))  # fmt: skip
            say(f"round {index + 1}, {system}, {precision}: {rounds[-1]}")
    print(f"{machine_line()}\n\n{report(found, args.batch_size, load)}")


if __name__ == "__main__":
    sys.exit(main())
