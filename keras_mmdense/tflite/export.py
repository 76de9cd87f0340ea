"""export(): write a model as `.tflite` files that contain their contract.

The conversion runs in a process of its own, because a failing converter can end its process, and
on TensorFlow whatever backend the model was trained on. The files are compared with Keras before
they get their names.
"""

import hashlib
import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from mmdense_edge.errors import ModelError
from mmdense_edge.model.contract import parse

from keras_mmdense.errors import ExportError, require
from keras_mmdense.inspection import multiply_adds_per_second
from keras_mmdense.model import build_zeros
from keras_mmdense.normalization import copy_weights, ready
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.results import check_writable, is_watched, writing
from keras_mmdense.settings import Settings
from keras_mmdense.tflite.calibration import Music, MusicSource, read_music
from keras_mmdense.tflite.convert import PAST, PRESENT
from keras_mmdense.tflite.parity import Figures, compare, summary, write_report
from keras_mmdense.tflite.precisions import Precision, choose

NOISE_WINDOWS = 2


class Contracts(dict[str, dict[str, Any]]):
    """The contracts of exported files by precision; shown as a line for each file."""

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {accuracy(contract)}" for name, contract in self.items())


def accuracy(contract: Mapping[str, Any]) -> str:
    """Return how near a file comes to Keras, in words."""
    parity = contract["parity"]
    loss = f", SDR lost {parity['sdr_loss_db']:.3f} dB" if "sdr_loss_db" in parity else ""
    return f"SNR {parity['snr_db']:.1f} dB{loss}"


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    precision: str | Sequence[str] = "float32",
    music: MusicSource | None = None,
    window_frames: int = 128,
    states: bool = False,
    name: str | None = None,
    scores: Mapping[str, float] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    report: bool = False,
    overwrite: bool = False,
    progress: bool | Callable[[str], None] | None = None,
) -> Contracts:
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
            receptive field needs is added on both sides. The file of a causal model has one frame,
            and as `states` the values of past frames that it reads; here, this is the length of
            the windows to compare.
        states: Remember between windows what convolutions read of past frames, instead of computing
            context again: less work and memory. `mmdense live` then moves by whole windows and
            needs its full look-ahead, and the page does not take the file. The file of a causal
            model always has states.
        name: Name of the model in the contract; default the file's, or if that is the precision
            alone, the preset's.
        scores: SDR in dB by source, written in the contract of every file with two decimals.
            Measure them first: export, evaluate the file, and export again with its scores.
        thresholds: Figures to reach in place of the defaults, as
            `{"int8": {"snr_db": 15, "sdr_loss_db": 0.2}}`.
        report: Also write a report next to the files: `<name>.parity.json`, `.md`, `.png`, `.svg`.
        overwrite: Replace existing files.
        progress: True to print a line before each step, False not to; by default it is printed on a
            terminal and in a notebook. Or a function, called with the line.

    Returns:
        The contract of each precision, a dict, with `parity`: the largest difference from Keras
        relative to the largest value (or to 1), the signal-to-noise ratio of the estimates in dB
        and, if there are stems, the SDR lost in dB; each also by source.

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
    settings, chosen = ready(model), choose(precision, thresholds)
    copy_weights(model, build_zeros(settings))  # refuses layers that a file would lack
    label = name or Path(path).stem.replace("{precision}", "").strip("-_. ") or settings.preset
    targets = _targets(path, label, chosen, report)
    check_writable(targets, overwrite, ExportError)
    require(
        window_frames > 0 and window_frames % settings.frame_multiple == 0,
        f"window_frames must be a multiple of 2**scales = {settings.frame_multiple}",
        window_frames,
        f"Try {max(128, settings.frame_multiple)}.",
        ExportError,
    )
    scores = scores or {}
    wrong = {s: v for s, v in scores.items() if s not in settings.sources or not math.isfinite(v)}
    require(
        not wrong,
        f"scores must be finite numbers by source, of {', '.join(settings.sources)}",
        wrong,
        "Leave them out.",
        ExportError,
    )
    needing = [p.name for p in chosen if p.music]
    require(
        music is not None or not needing,
        f"{', '.join(needing)} needs music to calibrate on",
        music,
        "Pass music=, a data set or a folder of songs.",
        ExportError,
    )
    needed = {"tensorflow", "ai_edge_litert"}
    needed |= {"ai_edge_quantizer"} if {p.name for p in chosen} - {"float32", "float16"} else set()
    missing = sorted(name for name in needed if find_spec(name) is None)
    require(
        not missing,
        "an export needs tensorflow, ai_edge_litert and, for 8 bits, ai_edge_quantizer",
        f"no {', '.join(missing)}",
        'pip install ".[export]" in a checkout of keras_mmdense.',
        ExportError,
    )
    context, stateful = context_frames(settings), states and not settings.causal
    if stateful:  # outputs are late by whole windows, and the receptive field's by some more
        context = -(-(context + settings.frame_multiple) // window_frames) * window_frames
    frames = window_frames + context if settings.causal else window_frames + 2 * context
    shown = is_watched() if progress is None else progress
    say = progress if callable(progress) else print if shown else lambda text: None
    rounded = {source: round(value, 2) for source, value in scores.items()}
    measured: dict[str, Any] = {"scores": rounded} if rounded else {}
    repeated = 1.0 if settings.causal or stateful else frames / window_frames
    measured["macs_per_second"] = round(multiply_adds_per_second(model, frames) * repeated)
    say("making noise shaped like music" if music is None else "reading music")
    material = _noise(settings, frames) if music is None else read_music(music, settings, frames)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model.save(folder / "model.keras")
        np.save(folder / "check.npy", np.abs(material.check))
        np.save(folder / "calibration.npy", material.calibration)
        given = str(context if stateful else 0), *(p.name for p in chosen)
        lines = _run(folder, "convert", ".", *given)
        steps = (line[5:].strip() for line in lines if line.startswith("STEP "))
        for number, step in enumerate(steps, 1):
            say(f"{number}/{2 + len(chosen)} {step}")
        weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        kept = slice(context, frames - context) if stateful else slice(None)
        if settings.causal:  # the file has one frame and no context
            frames, window_frames, context = 1, 1, 0
        if settings.causal or stateful:
            taps = json.loads((folder / "taps.json").read_text())
            measured["states"] = {"input": PAST, "output": PRESENT, "taps": taps}
            measured |= {
                "version": 3 if context else 2,
                "context_frames": context,
                "frame_multiple": window_frames,
            }
        seconds = window_frames * settings.transform.hop_length / settings.sample_rate
        say(f"{2 + len(chosen)}/{2 + len(chosen)} comparing with Keras")
        figures = [
            _measure(folder, p, material, kept, settings.head, weights, seconds) for p in chosen
        ]
        missed = [p.failures(f["summary"]) for p, f in zip(chosen, figures, strict=True)]
        if listed := "; ".join(text for texts in missed for text in texts):
            raise ExportError(
                f"the files must agree with Keras: {listed}. Nothing was written; leave "
                "that precision out, train longer, or set thresholds."
            )
        contracts = Contracts()
        with writing(targets, overwrite, ExportError) as aside:
            if report:
                write_report(aside, label, figures)
            for f, target in zip(figures, targets, strict=False):
                content = (folder / f"{f['precision']}.tflite").read_bytes()
                contract = make_contract(
                    settings, content, frames, label, f["precision"], f["summary"], measured
                )
                try:
                    parse(json.dumps(contract).encode())
                except ModelError as error:
                    raise ExportError(
                        f"the runner must take the file; {error}. Nothing was written; export "
                        "fewer sources to a file, or without states."
                    ) from error
                (aside / target.name).write_bytes(with_contract(content, contract))
                contracts[f["precision"]] = contract
    return contracts


def _targets(
    path: str | os.PathLike[str], label: str, chosen: Sequence[Precision], report: bool
) -> list[Path]:
    """Return the paths of each precision, then those of the report."""
    text = os.fspath(path)
    require(
        text.endswith(".tflite"),
        "the file's name must end in .tflite",
        text,
        "Rename it.",
        ExportError,
    )
    require(
        len(chosen) == 1 or "{precision}" in Path(text).name,
        "for several precisions the file's name must hold {precision}",
        text,
        "Pass for example model-{precision}.tflite.",
        ExportError,
    )
    suffixes = ("json", "md", "png", "svg") if report else ()
    reports = [Path(path).with_name(f"{label}.parity.{suffix}") for suffix in suffixes]
    return [Path(text.replace("{precision}", p.name)) for p in chosen] + reports


def make_contract(
    settings: Settings,
    content: bytes,
    frames: int,
    name: str,
    precision: str,
    parity: dict[str, float],
    measured: dict[str, Any],
) -> dict[str, Any]:
    """Return the contract of a flatbuffer; `measured` holds its optional entries."""
    return {
        "format": "mmdense-model",
        "version": 1,
        "name": name,
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "sources": list(settings.sources),
        "sample_rate": settings.sample_rate,
        "transform": {
            "n_fft": settings.transform.n_fft,
            "hop_length": settings.transform.hop_length,
            "window": "hann",
        },
        "bins": settings.bins,
        "channels": settings.channels,
        "frames": frames,
        "context_frames": context_frames(settings),
        "frame_multiple": settings.frame_multiple,
        "input": "mixture",
        "outputs": {source: source for source in settings.sources},
        "output": settings.head,
        "precision": precision,
        "licence": settings.license,
        "training_data": settings.training_data,
        "parity": parity,
        "settings": settings.to_dict(),
        **measured,
    }


def with_contract(content: bytes, contract: dict[str, Any]) -> bytes:
    """Append a ZIP archive with the contract; its fixed date makes files reproducible."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        info = zipfile.ZipInfo("contract.json", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(info, json.dumps(contract, indent=1, ensure_ascii=False, allow_nan=False))
    return buffer.getvalue()


def _noise(settings: Settings, frames: int) -> Music:
    """Return windows of noise with a spectrum like music."""
    rng = np.random.default_rng(0)
    shape = (NOISE_WINDOWS, frames, settings.bins, settings.channels)
    slope = (300 / (1 + np.arange(settings.bins)) ** 0.9)[:, None]
    phase = np.exp(2j * np.pi * rng.random(shape))
    check = (rng.rayleigh(size=shape) * slope * phase).astype(np.complex64)
    return Music(np.abs(check[:0]), check, {})


def _measure(
    folder: Path,
    precision: Precision,
    music: Music,
    kept: slice,
    head: str,
    weights: int,
    seconds: float,
) -> Figures:
    """Compare a file's kept frames with Keras' and measure its cost per second of audio."""
    file = folder / f"{precision.name}.tflite"
    with (
        np.load(file.with_suffix(".npz")) as answers,
        np.load(folder / "keras.npz") as keras_answers,
    ):
        found, expected = (
            {name: windows[:, kept] for name, windows in one.items()}
            for one in (answers, keras_answers)
        )
    sources = {name: windows[:, kept] for name, windows in music.sources.items()}
    numbers = compare(found, expected, music.check[:, kept], sources, head)
    lines = _run(folder, "probe", file.name)
    probe = next(json.loads(line[6:]) for line in lines if line.startswith("PROBE "))
    probe["cpu_rtf"] = probe["cpu_s"] / seconds
    return {
        "precision": precision.name,
        **numbers,
        "size_bytes": file.stat().st_size,
        "predicted_bytes": weights * precision.weight_bytes,
        "probe": probe,
        "summary": summary(numbers),
    }


def _run(folder: Path, *task: str) -> Iterator[str]:
    """Yield the lines that a task of convert.py prints; raise with its last error if it fails."""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    root = str(Path(__file__).resolve().parents[2])
    if root in sys.path and "site-packages" not in root:  # a checkout, not installed
        known = os.environ.get("PYTHONPATH", root)
        environment["PYTHONPATH"] = os.pathsep.join([known, root])
    # in the temporary folder: nothing in the user's folder can be imported by mistake
    with (
        (folder / "stderr").open("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "keras_mmdense.tflite.convert", *task],
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
