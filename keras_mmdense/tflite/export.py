"""export(): write a model as `.tflite` files that contain their contract.

The conversion runs in a process of its own, because a failing converter can end its process, and
on TensorFlow whatever backend the model was trained on. The files are compared with Keras before
they get their names.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_mmdense.errors import ExportError
from keras_mmdense.model import build_from_settings
from keras_mmdense.normalization import copy_weights, ready
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.settings import Settings
from keras_mmdense.tflite.calibration import Music, MusicSource, read_music
from keras_mmdense.tflite.contract_writer import make_contract, with_contract, write_whole
from keras_mmdense.tflite.parity import Figures, compare, write_report
from keras_mmdense.tflite.precisions import Precision, choose

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
    """Write a model as `.tflite` in one or several precisions, with built-in operators only.

    A file is a TFLite model followed by a ZIP archive that holds `contract.json`: sources,
    sample rate, transform, frames, context, precision, parity, license, multiply-adds, scores and
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
        report: Also write a report next to the files: `<name>.parity.json`, `.md`, `.png`, `.svg`.
        overwrite: Replace existing files.
        progress: Called with a line of text before each step.

    Returns:
        The contract of each precision, with `parity`: the largest difference from Keras relative to
        the largest value (or to 1), the signal-to-noise ratio of the estimates in dB and, if there
        are stems, the SDR lost in dB; each also by source.

    Raises:
        ExportError: A file exists, its folder does not, the scores name other sources than the
            model's, the music is unsuitable, the conversion failed, or a figure misses its
            threshold. Nothing is written then.
        SettingsError: The model has layers that its settings do not describe.

    Example:
        >>> import keras_mmdense, tempfile
        >>> model = keras_mmdense.build("mdensenet", bins=64, num_layers=1, growth_rate=4)
        >>> target = tempfile.mkdtemp() + "/model.tflite"
        >>> keras_mmdense.export(model, target, window_frames=8)["float32"]["sources"]
        ['vocals']
    """
    from keras_mmdense.inspection import multiply_adds_per_second

    settings, chosen = ready(model), choose(precision, thresholds)
    copy_weights(model, build_from_settings(settings))  # refuses layers that a file would lack
    label = name or Path(path).stem.replace("{precision}", "").strip("-_. ")
    targets = _check_targets(path, label, chosen, report, overwrite)
    if window_frames < 1 or window_frames % settings.frame_multiple:
        raise ExportError(
            f"window_frames must be a multiple of 2**scales = {settings.frame_multiple}; received "
            f"{window_frames}. Try 128."
        )
    scores = scores or {}
    wrong = {s: v for s, v in scores.items() if s not in settings.sources or not math.isfinite(v)}
    if wrong:
        raise ExportError(
            f"scores must be finite numbers by source, of {', '.join(settings.sources)}; received "
            f"{wrong}. Leave them out."
        )
    needing = [p.name for p in chosen if p.music]
    if music is None and needing:
        raise ExportError(
            f"{', '.join(needing)} needs music to calibrate on; received none. Pass music=, a data "
            "set or a folder of songs."
        )
    frames = window_frames + 2 * context_frames(settings)
    say = progress or (lambda text: None)
    rounded = {source: round(value, 2) for source, value in scores.items()}
    measured: dict[str, Any] = {"scores": rounded} if rounded else {}
    measured["macs_per_second"] = round(multiply_adds_per_second(model) * frames / window_frames)
    say("reading music")
    material = _noise(settings, frames) if music is None else read_music(music, settings, frames)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model.save(folder / "model.keras")
        np.save(folder / "check.npy", np.abs(material.check))
        np.save(folder / "calibration.npy", material.calibration)
        job = {"frames": frames, "precisions": [p.name for p in chosen]}
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        lines = _run("keras_mmdense.tflite.convert", str(folder), folder)
        steps = (line[5:].strip() for line in lines if line.startswith("STEP "))
        for number, step in enumerate(steps, 1):
            say(f"{number}/{1 + len(chosen)} {step}")
        weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        seconds = window_frames * settings.transform.hop_length / settings.sample_rate
        figures = [_measure(folder, p, material, settings.head, weights, seconds) for p in chosen]
        missed = [p.failures(f.summary()) for p, f in zip(chosen, figures, strict=True)]
        if listed := "; ".join(text for texts in missed for text in texts):
            raise ExportError(
                f"the files must agree with Keras: {listed}. Nothing was written; leave "
                "that precision out, train longer, or set thresholds."
            )
        if report:
            write_report(folder, label, figures)
        contracts, contents = {}, {}
        for f in figures:
            content = (folder / f"{f.precision}.tflite").read_bytes()
            contracts[f.precision] = make_contract(
                settings, content, frames, label, f.precision, f.summary(), measured
            )
            contents[f.precision] = with_contract(content, contracts[f.precision])
        for key in targets.keys() - contents.keys():
            if (folder / key).exists():  # a picture may be missing
                contents[key] = (folder / key).read_bytes()
    _check_targets(path, label, chosen, report, overwrite)  # the conversion took its time
    for key, content in contents.items():
        write_whole(targets[key], content)
    return contracts


def _check_targets(
    path: str | os.PathLike[str],
    label: str,
    chosen: Sequence[Precision],
    report: bool,
    overwrite: bool,
) -> dict[str, Path]:
    """Return the paths of each precision and the report; check that all can be written."""
    text = os.fspath(path)
    folder = Path(path).parent
    if not text.endswith(".tflite"):
        raise ExportError(f"the file's name must end in .tflite; received {text}. Rename it.")
    if len(chosen) > 1 and "{precision}" not in Path(text).name:
        raise ExportError(
            "for several precisions the file's name must hold {precision}; received "
            f"{text}. Pass for example model-{{precision}}.tflite."
        )
    targets = {p.name: Path(text.replace("{precision}", p.name)) for p in chosen}
    if report:
        names = [f"{label}.parity.{suffix}" for suffix in ("json", "md", "png", "svg")]
        targets |= {name: folder / name for name in names}
    for target in targets.values():
        if not target.parent.is_dir():
            raise ExportError(f"the folder must exist; received {target.parent}. Create it first.")
        if not os.access(target.parent, os.W_OK):
            raise ExportError(
                f"the folder must be writable; received {target.parent}. Choose another."
            )
        if target.exists() and not overwrite:
            raise ExportError(f"{target} exists already. Pass overwrite=True to replace it.")
    return targets


def _noise(settings: Settings, frames: int) -> Music:
    """Return windows of noise with a spectrum like music."""
    rng = np.random.default_rng(0)
    shape = (NOISE_WINDOWS, frames, settings.bins, settings.channels)
    slope = (300 / (1 + np.arange(settings.bins)) ** 0.9)[:, None]
    phase = np.exp(2j * np.pi * rng.random(shape))
    check = (rng.rayleigh(size=shape) * slope * phase).astype(np.complex64)
    return Music(np.abs(check[:0]), check, {})


def _measure(
    folder: Path, precision: Precision, music: Music, head: str, weights: int, seconds: float
) -> Figures:
    """Compare a file with Keras and measure its cost per second of audio."""
    file = folder / f"{precision.name}.tflite"
    with np.load(file.with_suffix(".npz")) as found, np.load(folder / "keras.npz") as expected:
        numbers = compare(dict(found), dict(expected), music.check, music.sources, head)
    lines = _run("keras_mmdense.tflite.probe", str(file), folder)
    probe = next(json.loads(line[6:]) for line in lines if line.startswith("PROBE "))
    probe["cpu_rtf"] = probe["cpu_s"] / seconds
    predicted = weights * precision.weight_bytes
    return Figures(precision.name, *numbers, file.stat().st_size, predicted, probe)


def _run(module: str, argument: str, folder: Path) -> Iterator[str]:
    """Yield the lines that a module prints; raise with its last error if it fails."""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    root = str(Path(__file__).resolve().parents[2])
    if root in sys.path and "site-packages" not in root:  # a checkout, not installed
        known = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([known, root] if known else [root])
    # in the temporary folder: nothing in the user's folder can be imported by mistake
    with (
        (folder / "stderr").open("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module, argument],
            env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            yield from process.stdout
            process.wait()
        finally:
            process.kill()  # after an interruption; of an ended process it does nothing
        if process.returncode:
            errors.seek(0)
            found = [line.strip() for line in errors if re.search(r"(Error|error):?", line)]
            raise ExportError(
                "the conversion must succeed; its process ended with "
                f"{process.returncode}: {(found or ['no message'])[-1]}. It needs "
                'tensorflow>=2.17 and ai-edge-quantizer: pip install ".[export]" in a checkout '
                "of keras_mmdense."
            )
