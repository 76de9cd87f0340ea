"""export(): a model as `.tflite` files that carry their own contract.

The conversion runs in a process of its own, because a failing converter can end its process, and
on TensorFlow whatever backend the model was trained on. The files are compared with Keras before
they get their names.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import ExportError, SettingsError
from keras_mmdense.normalization import ready
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.settings import Settings
from keras_mmdense.tflite.calibration import Music, MusicSource, read_music
from keras_mmdense.tflite.contract_writer import make_contract, with_contract, write_whole
from keras_mmdense.tflite.parity import Figures, compare, write_report
from keras_mmdense.tflite.precisions import Precision, choose, failures, thresholds_of

if TYPE_CHECKING:
    import keras

NOISE_WINDOWS = 2


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    precision: str | Sequence[str] = "float32",
    music: MusicSource | None = None,
    window_frames: int = 128,
    name: str | None = None,
    scores: Mapping[str, float] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    report: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Write a model as `.tflite` with built-in operators only, in one or several precisions.

    A file is a TFLite model followed by a ZIP archive that holds `contract.json`: sources,
    sample rate, transform, frames, context, precision, parity, licence, multiply-adds, scores and
    a checksum. Inputs and outputs are float32 and have the signature `serving_default`: `mixture`
    to one output per source. With a mask head the outputs are the masks, to be multiplied with the
    mixture outside.

    Args:
        model: A model made by `keras_mmdense.build`.
        path: The file to write; ends in `.tflite`. With several precisions it holds the word
            `{precision}`, as in `vocals-{precision}.tflite`.
        precision: One or several of "float32", "float16", "dynamic" (8-bit weights, float
            values), "int8-weights" (the same for old interpreters), "int8" and "int16x8".
        music: What to calibrate and compare on: a data set, its tracks, or a folder of songs.
            "int8" and "int16x8" need it; without it the others are compared on noise shaped like
            music. With stems the SDR is compared, too.
        window_frames: Frames that a window keeps, a multiple of 2**scales; the context that the
            receptive field needs is added on both sides.
        name: Name of the model in the contract; default the file's name.
        scores: SDR in dB by source, written in the contract of every file with two decimals.
            Measure them first: export, evaluate the file, and export again with its scores.
        thresholds: Figures to reach in place of the defaults, as
            `{"int8": {"snr_db": 15, "sdr_loss_db": 0.2}}`.
        report: Also write the report beside the files: `<name>.parity.json`, `.md`, `.png`, `.svg`.
        overwrite: Replace existing files.
        progress: Called with a line of text before each step.

    Returns:
        The contract of each precision, with `parity`: the largest difference to Keras as a share
        of the largest value (or of 1), the signal-to-noise ratio of the estimates in dB and,
        where there are stems, the SDR lost in dB; each also by source.

    Raises:
        ExportError: A file exists, its folder does not, the scores are none of the model's
            sources, the music does not do, the conversion failed, or a figure misses its
            threshold. Nothing is written then.

    Example:
        >>> import keras_mmdense, tempfile
        >>> model = keras_mmdense.build("mdensenet", bins=64, num_layers=1, growth_rate=4)
        >>> target = tempfile.mkdtemp() + "/model.tflite"
        >>> keras_mmdense.export(model, target, window_frames=8)["float32"]["sources"]
        ['vocals']
    """
    from keras_mmdense.inspection import multiply_adds_per_second

    settings, chosen = ready(model), choose(precision)
    limits = {p.name: thresholds_of(p, thresholds) for p in chosen}
    targets = _targets(path, chosen, overwrite)
    if window_frames < 1 or window_frames % settings.frame_multiple:
        raise ExportError(
            f"window_frames must be a multiple of 2**scales = {settings.frame_multiple}; received "
            f"{window_frames}. Try 128."
        )
    if unknown := {
        source: value
        for source, value in (scores or {}).items()
        if source not in settings.sources or not math.isfinite(value)
    }:
        raise ExportError(
            f"scores must be finite numbers by source, of {', '.join(settings.sources)}; received "
            f"{unknown}. Leave them out."
        )
    frames = window_frames + 2 * context_frames(settings)
    label = name or Path(path).stem.replace("{precision}", "").strip("-_. ")
    reports = _report_files(Path(path).parent, label, overwrite) if report else []
    say = progress or (lambda text: None)
    needing = [p.name for p in chosen if p.music]
    if music is None and needing:
        raise ExportError(
            f"{', '.join(needing)} needs music to calibrate on; received none. Pass music=, a data "
            "set or a folder of songs."
        )
    measured: dict[str, Any] = {}
    if scores:
        measured["scores"] = {source: round(value, 2) for source, value in scores.items()}
    try:
        work = multiply_adds_per_second(model) * frames / window_frames
        measured["macs_per_second"] = round(work)
    except SettingsError as error:  # layers of the user's own
        say(f"without a speed class: {error}")
    say("reading music")
    material = _noise(settings, frames) if music is None else read_music(music, settings, frames)
    with tempfile.TemporaryDirectory() as folder:
        job = _Job(Path(folder), settings, frames, material)
        job.convert(model, chosen, say)
        figures = [job.figures(p) for p in chosen]
        _check(figures, limits)
        contents = {p.name: job.flatbuffer(p) for p in chosen}
        if report:
            write_report(Path(folder), label, figures)
        made = {target: Path(folder, target.name) for target in reports}
        drawn = {target: p.read_bytes() for target, p in made.items() if p.exists()}
    contracts = {
        f.precision: make_contract(
            settings, contents[f.precision], frames, label, f.precision, f.summary(), measured
        )
        for f in figures
    }
    _targets(path, chosen, overwrite)  # the conversion took its time
    for key, target in targets.items():
        write_whole(target, with_contract(contents[key], contracts[key]))
    for target, content in drawn.items():
        write_whole(target, content)
    return contracts


def _targets(
    path: str | os.PathLike[str], chosen: Sequence[Precision], overwrite: bool
) -> dict[str, Path]:
    """Return the file of each precision; all can be written."""
    text = os.fspath(path)
    if not text.endswith(".tflite"):
        raise ExportError(f"the file's name must end in .tflite; received {text}. Rename it.")
    if len(chosen) > 1 and "{precision}" not in Path(text).name:
        raise ExportError(
            "for several precisions the file's name must hold {precision}; received "
            f"{text}. Pass for example model-{{precision}}.tflite."
        )
    targets = {p.name: Path(text.replace("{precision}", p.name)) for p in chosen}
    for target in targets.values():
        _check_target(target, overwrite)
    return targets


def _report_files(folder: Path, name: str, overwrite: bool) -> list[Path]:
    files = [folder / f"{name}.parity.{suffix}" for suffix in ("json", "md", "png", "svg")]
    for target in files:
        _check_target(target, overwrite)
    return files


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise ExportError(f"the folder must exist; received {target.parent}. Create it first.")
    if not os.access(target.parent, os.W_OK):
        raise ExportError(f"the folder must be writable; received {target.parent}. Choose another.")
    if target.exists() and not overwrite:
        raise ExportError(f"{target} exists already. Pass overwrite=True to replace it.")


def _noise(s: Settings, frames: int) -> Music:
    """Return windows of noise that falls off like music."""
    rng = np.random.default_rng(0)
    shape = (NOISE_WINDOWS, frames, s.bins, s.channels)
    slope = (300 / (1 + np.arange(s.bins)) ** 0.9)[:, None]
    phase = np.exp(2j * np.pi * rng.random(shape))
    check = (rng.rayleigh(size=shape) * slope * phase).astype(np.complex64)
    return Music(np.abs(check[:0]), check, {})


def _check(figures: Sequence[Figures], limits: Mapping[str, Mapping[str, float]]) -> None:
    missed = [
        f"{f.precision}: {text}"
        for f in figures
        for text in failures(f.summary(), limits[f.precision])
    ]
    if missed:
        raise ExportError(
            f"the files must agree with Keras: {'; '.join(missed)}. Nothing was written; leave "
            "that precision out, train longer, or set thresholds."
        )


@dataclass
class _Job:
    """A folder in which the conversion's process works, and what it left there."""

    folder: Path
    settings: Settings
    frames: int
    music: Music

    def convert(
        self, model: keras.Model, chosen: Sequence[Precision], say: Callable[[str], None]
    ) -> None:
        """Run the conversion in a process of its own."""
        model.save(self.folder / "model.keras")
        self.weights = sum(math.prod(w.shape) for w in model.trainable_weights)
        np.save(self.folder / "check.npy", np.abs(self.music.check))
        np.save(self.folder / "calibration.npy", self.music.calibration)
        job = {"frames": self.frames, "precisions": [p.name for p in chosen]}
        (self.folder / "job.json").write_text(json.dumps(job), "utf-8")
        steps = len(chosen) + 1
        lines = self._run("keras_mmdense.tflite.convert", str(self.folder))
        for number, line in enumerate(line for line in lines if line.startswith("STEP ")):
            say(f"{number + 1}/{steps} {line[5:].strip()}")

    def figures(self, precision: Precision) -> Figures:
        """Compare a file with Keras, and measure what it costs."""
        with (
            np.load(self.folder / f"{precision.name}.npz") as found,
            np.load(self.folder / "keras.npz") as expected,
        ):
            numbers = compare(
                dict(found), dict(expected), self.music.check, self.music.sources,
                self.settings.head,
            )  # fmt: skip
        file = self.folder / f"{precision.name}.tflite"
        lines = self._run("keras_mmdense.tflite.probe", str(file))
        probe = next(json.loads(line[6:]) for line in lines if line.startswith("PROBE "))
        kept = self.frames - 2 * context_frames(self.settings)
        seconds = kept * self.settings.transform.hop_length / self.settings.sample_rate
        probe["cpu_rtf"] = probe["cpu_s"] / seconds
        return Figures(
            precision.name,
            *numbers,
            size_bytes=file.stat().st_size,
            predicted_bytes=self.weights * precision.weight_bytes,
            probe=probe,
        )

    def flatbuffer(self, precision: Precision) -> bytes:
        """Return the file without its contract."""
        return (self.folder / f"{precision.name}.tflite").read_bytes()

    def _run(self, module: str, argument: str) -> Iterator[str]:
        """Yield the lines that a module prints; raise with its last error if it fails."""
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        parent = str(Path(__file__).resolve().parents[1])
        if parent in sys.path and "site-packages" not in parent:  # a checkout, not installed
            environment["PYTHONPATH"] = os.pathsep.join(
                [*filter(None, [os.environ.get("PYTHONPATH")]), parent]
            )
        # in the temporary folder: nothing in the user's folder can be imported by mistake
        with (
            (self.folder / "stderr").open("w+", encoding="utf-8", errors="replace") as errors,
            subprocess.Popen(
                [sys.executable, "-m", module, argument],
                env=environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=errors, text=True,
            ) as process,
        ):  # fmt: skip
            assert process.stdout is not None
            with contextlib.ExitStack() as stack:
                stack.callback(process.kill)  # after an interruption
                yield from process.stdout
                process.wait()
            if process.returncode:
                errors.seek(0)
                found = [line.strip() for line in errors if re.search(r"(Error|error):?", line)]
                raise ExportError(
                    "the conversion must end well; its process ended with "
                    f"{process.returncode}: {(found or ['no message'])[-1]}. It needs "
                    'tensorflow>=2.17 and ai-edge-quantizer: pip install ".[export]" in a checkout '
                    "of keras_mmdense."
                )
