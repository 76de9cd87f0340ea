"""Table 3: parameters, multiply-adds and training time of the networks and of their baselines."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import keras_mmdense
from keras_mmdense.data import Track, training_set
from keras_mmdense.errors import SettingsError
from keras_mmdense.graph import parameters
from keras_mmdense.model_settings import settings_of
from keras_mmdense.operations import multiply_adds_per_second
from training.paper.baseline_networks import build_network
from training.paper.markdown import ReproductionError, machine, table

# 50 songs of 4 min 10 s on average: about the length of DSD100's training half
DSD100_SECONDS = 12500.0
SOURCE = "vocals"
# Published sizes with their grade, see GRADES, and where they are from.
PUBLISHED = {
    "MDenseNet": ("0.14 M [D]", "1.5 % of BLEND, arXiv 1706.09588"),
    "MMDenseNet": ("0.33 M [Q]", "arXiv 2008.05216"),
    "BLEND": ("9.2 M [D]", "MMDenseNet's 0.33 M are 3.6 % of it, arXiv 1706.09588"),
    "BLSTM, large": ("30.03 M [Q]", "arXiv 2008.05216"),
}
GRADES = (
    "[A] the authors' own text; [D] derived from other published figures; [M] from memory of the "
    "paper, not checked against it; [Q] quoted from the authors by others"
)
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "MDenseNet": lambda: keras_mmdense.build("mdensenet", SOURCE),
    "MMDenseNet": lambda: keras_mmdense.build("mmdensenet", SOURCE),
    "FNN": lambda: build_network("fnn", SOURCE),
    "BLSTM": lambda: build_network("blstm", SOURCE),
    "BLEND": lambda: build_network("blend", SOURCE),
    "BLSTM, large": lambda: build_network("blstm", SOURCE, cells=572),
}
NOTES = """\
What is known of the baselines, and what was chosen:

- BLSTM: three layers of 500 cells [Q: the authors' description of their SiSEC 2018 entry, in the
  source of Deezer's Spleeter, which reads it as 250 per direction]. So 250 forwards and 250
  backwards are taken.
- BLEND: the weighted sum of the estimates of FNN and BLSTM [A: abstract of Uhlich et al., 2017];
  0.25 for the FNN, 0.75 for the BLSTM [M]. Its size follows from the paper's percentages: 0.33 M /
  3.6 % = 9.2 M [D], 8.9 to 9.4 M with the rounding.
- FNN: rectified linear units on several frames together, up to about 20 [A: arXiv 1706.09588].
  The rest is not known. Chosen: three layers of 128 units on 17 frames, each of which a linear
  layer reduces to 64 values first, so that FNN and BLSTM together come to BLEND's size.
- BLSTM, large: the published 30.03 M cannot be part of a BLEND of 9.2 M; it is another, later
  network [Q]. 572 cells per direction come nearest to it. With 500 it would have 24.3 M.
- All read and return what MMDenseNet does: 1024 bins of a 2048 window, both channels, one source.
  The published ones had other windows and bins.

Few weights are not few operations: a convolution uses each weight once for every bin and frame, a
BLSTM once a frame. The paper says that its networks take "considerably less training time" [A];
an epoch on a CPU, as here, takes them more. How many epochs each one needs is not measured here."""


@dataclass(frozen=True)
class Timing:
    """How training time is measured.

    Args:
        steps: Steps that count, >= 1; one more comes first and does not.
        frames: Frames of an example, a multiple of 8.
        batch_size: Examples of a step.
        epoch_seconds: Seconds of audio of the epoch that it is extrapolated to, > 0.
        tracks: Tracks to train on; none for generated magnitudes.
    """

    steps: int = 3
    frames: int = 128
    batch_size: int = 4
    epoch_seconds: float = DSD100_SECONDS
    tracks: Sequence[Track] = ()

    def __post_init__(self) -> None:
        """Check the ranges."""
        whole = (self.steps, self.batch_size, self.frames)
        if min(whole) < 1 or self.frames % 8 or not 0 < self.epoch_seconds < float("inf"):
            raise SettingsError(
                "steps and batch_size must be 1 or more, frames a multiple of 8, epoch_seconds "
                f"above 0; received {self.steps}, {self.batch_size}, {self.frames}, "
                f"{self.epoch_seconds}. The defaults fit."
            )


@dataclass(frozen=True)
class Row:
    """What is known of a network.

    Args:
        name: Key in `NETWORKS`.
        parameters: Trainable weights.
        multiply_adds: For a second of audio.
        step_seconds: Seconds of a training step.
        audio_seconds: Seconds of audio of a training step.
    """

    name: str
    parameters: int
    multiply_adds: float
    step_seconds: float
    audio_seconds: float

    def epoch_hours(self, seconds: float) -> float:
        """Extrapolate to hours for an epoch of some seconds of audio.

        Example:
            >>> Row("one", 1, 1.0, step_seconds=2.0, audio_seconds=10.0).epoch_hours(36000)
            2.0
        """
        return self.step_seconds * seconds / self.audio_seconds / 3600


def measure_all(
    names: Sequence[str], timing: Timing, progress: Callable[[str], None] = lambda name: None
) -> list[Row]:
    """Measure networks one after the other.

    Args:
        names: Keys in `NETWORKS`.
        timing: How to measure.
        progress: Called with each name before it is measured.
    """
    rows = []
    for name in names:
        progress(name)
        keras.utils.set_random_seed(0)
        model = NETWORKS[name]()
        rows.append(measure(name, model, timing))
        keras.backend.clear_session()
    return rows


def measure(name: str, model: keras.Model, timing: Timing) -> Row:
    """Count a model's weights and operations, and time `fit` on it, without XLA.

    Args:
        name: Name for the row.
        model: A model with the settings of keras_mmdense; its weights are changed.
        timing: How to measure.

    Raises:
        ReproductionError: A track cannot be read.
    """
    import tensorflow as tf

    model.compile(keras.optimizers.RMSprop(1e-3), "mse", jit_compile=False)
    watch = _Watch()
    steps = timing.steps + 1
    data = data_for(model, timing)
    try:
        model.fit(data, steps_per_epoch=steps, callbacks=[watch], shuffle=False, verbose=0)
    except tf.errors.OpError as error:
        told = re.search(r"TrackError: (.+)", str(error))
        raise ReproductionError(told[1] if told else str(error).splitlines()[0]) from error
    s = settings_of(model)
    frames = timing.batch_size * timing.frames
    return Row(
        name,
        parameters(model),
        multiply_adds_per_second(model, timing.frames),
        statistics.median(watch.seconds[1:]),
        frames * s.transform.hop_length / s.sample_rate,
    )


def data_for(model: keras.Model, timing: Timing) -> Any:
    """Return batches without end: of the tracks, or generated ones with half of it as target."""
    import tensorflow as tf

    s = settings_of(model)
    if timing.tracks:
        return training_set(
            timing.tracks,
            model,
            frames=timing.frames,
            batch_size=timing.batch_size,
            examples=timing.batch_size * (timing.steps + 1),
        ).repeat()
    shape = (timing.batch_size, timing.frames, s.bins, s.channels)
    mixture = tf.constant(np.random.default_rng(0).rayleigh(size=shape).astype(np.float32))
    targets = {source: mixture / 2 for source in s.sources}
    return tf.data.Dataset.from_tensors((mixture, targets)).repeat()


def report(rows: Sequence[Row], timing: Timing) -> str:
    """Return the table, how it was measured, and what is known, as Markdown."""
    sizes = {row.name: row.parameters for row in rows}
    head = ["network", "weights", "published", "share of BLEND", "GMAC per s of audio",
            "s per step", "h per epoch"]  # fmt: skip
    cells = [
        [
            row.name,
            f"{row.parameters:,}",
            PUBLISHED.get(row.name, "-")[0],
            f"{row.parameters / sizes['BLEND']:.1%}" if "BLEND" in sizes else "-",
            f"{row.multiply_adds / 1e9:.2f}",
            f"{row.step_seconds:.2f}",
            f"{row.epoch_hours(timing.epoch_seconds):.1f}",
        ]
        for row in rows
    ]
    return (
        "# Table 3: size and time\n\n"
        f"{table(head, cells)}\n\n"
        f"One source, stereo. {_how(timing)}\n\nMachine: {machine()}.\n\n{NOTES}\n\n"
        f"{GRADES}.\n\nPublished sizes: "
        + "; ".join(f"{name} {size}: {source}" for name, (size, source) in PUBLISHED.items())
        + ".\n"
    )


def _how(timing: Timing) -> str:
    data = "the given tracks" if timing.tracks else "generated magnitudes"
    return (
        f"Seconds per step: the median of {timing.steps} steps of `fit` in float32, RMSprop, "
        f"without XLA, after one that does not count, on {data}, {timing.batch_size} examples of "
        f"{timing.frames} frames. Hours per epoch are extrapolated from that to "
        f"{timing.epoch_seconds:,.0f} s of audio, not measured; the paper's own times are not "
        "known here."
    )


class _Watch(keras.callbacks.Callback):
    """Takes the seconds of each step, its data included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._before = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._before = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._before)
        self._before = now
