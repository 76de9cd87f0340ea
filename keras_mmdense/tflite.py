"""export(): a model as one `.tflite` file that carries its own contract.

The conversion runs in a process of its own, because a failing converter can end its process, and
on TensorFlow whatever backend the model was trained on. The file is compared with Keras before it
gets its name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_mmdense.errors import ExportError
from keras_mmdense.model_settings import settings_of
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.settings import Settings

if TYPE_CHECKING:
    import keras

CONTRACT_VERSION = 1
MAX_ERROR = 1e-4


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    window_frames: int = 128,
    name: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a model as float32 `.tflite` with built-in operators only.

    The file is a TFLite model followed by a ZIP archive that holds `contract.json`: sources,
    sample rate, transform, frames, context, licence and a checksum. Inputs and outputs have the
    signature `serving_default`: `mixture` to one output per source. With a mask head the outputs
    are the masks, to be multiplied with the mixture outside.

    Args:
        model: A model made by `keras_mmdense.build`.
        path: The file to write; ends in `.tflite`.
        window_frames: Frames that a window keeps, a multiple of 2**scales; the context that the
            receptive field needs is added on both sides.
        name: Name of the model in the contract; default the file's name.
        overwrite: Replace an existing file.

    Returns:
        The contract, with `parity`: the largest difference to Keras as a share of the largest
        value (or of 1), and the signal-to-noise ratio in dB, on noise shaped like music.

    Raises:
        ExportError: The file exists, its folder does not, the conversion failed, or the file
            does not agree with Keras. No file is left then.

    Example:
        >>> import keras_mmdense, tempfile
        >>> model = keras_mmdense.build("mdensenet", bins=64, layers=1, growth=4)
        >>> target = tempfile.mkdtemp() + "/model.tflite"
        >>> keras_mmdense.export(model, target, window_frames=8)["sources"]
        ['vocals']
    """
    target = Path(path)
    settings = settings_of(model)
    _check_target(target, overwrite)
    if window_frames < 1 or window_frames % settings.frame_multiple:
        raise ExportError(
            f"window_frames must be a multiple of 2**scales = {settings.frame_multiple}; received "
            f"{window_frames}. Try 128."
        )
    frames = window_frames + 2 * context_frames(settings)
    with tempfile.TemporaryDirectory() as folder:
        source, flatbuffer = Path(folder, "model.keras"), Path(folder, "model.tflite")
        model.save(source)
        parity = _convert(source, flatbuffer, frames)
        content = flatbuffer.read_bytes()
    if not parity["max_error"] <= MAX_ERROR:  # NaN is not
        raise ExportError(
            f"the file must agree with Keras to {MAX_ERROR:g}; received a largest error of "
            f"{parity['max_error']:g}. Nothing was written; try another TensorFlow release."
        )
    contract = _contract(settings, content, frames, name or target.stem, parity)
    _write(target, _with_contract(content, contract))
    return contract


def _check_target(target: Path, overwrite: bool) -> None:
    if target.suffix != ".tflite":
        raise ExportError(f"the file's name must end in .tflite; received {target}. Rename it.")
    if not target.parent.is_dir():
        raise ExportError(f"the folder must exist; received {target.parent}. Create it first.")
    if target.exists() and not overwrite:
        raise ExportError(f"{target} exists already. Pass overwrite=True to replace it.")


def _convert(source: Path, flatbuffer: Path, frames: int) -> dict[str, float]:
    """Run the conversion in a process of its own; return its comparison with Keras."""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    parent = str(Path(__file__).resolve().parents[1])
    if parent in sys.path and "site-packages" not in parent:  # a checkout that is not installed
        environment["PYTHONPATH"] = os.pathsep.join(
            [*filter(None, [os.environ.get("PYTHONPATH")]), parent]
        )
    command = [
        *(sys.executable, "-m", "keras_mmdense.tflite_conversion"),
        *(str(source), str(flatbuffer), str(frames)),
    ]
    # in the temporary folder: nothing that lies in the user's folder can be imported by mistake
    done = subprocess.run(
        command, env=environment, cwd=source.parent, capture_output=True, text=True
    )
    found = re.search(r"^PARITY (\{.*\})$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if "Error" in line] or ["no message"]
        raise ExportError(
            f"the conversion must end well; its process ended with {done.returncode}: {lines[-1]}. "
            "It needs tensorflow>=2.17 and ai-edge-litert: pip install 'keras-mmdense[export]'."
        )
    parity: dict[str, float] = json.loads(found.group(1))
    return parity


def _contract(
    s: Settings, content: bytes, frames: int, name: str, parity: dict[str, float]
) -> dict[str, Any]:
    return {
        "format": "mmdense-model",
        "version": CONTRACT_VERSION,
        "name": name,
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "sources": list(s.sources),
        "sample_rate": s.transform.sample_rate,
        "transform": {
            "n_fft": s.transform.n_fft,
            "hop_length": s.transform.hop_length,
            "window": "hann",
        },
        "bins": s.bins,
        "channels": s.channels,
        "frames": frames,
        "context_frames": context_frames(s),
        "frame_multiple": s.frame_multiple,
        "input": "mixture",
        "outputs": {source: source for source in s.sources},
        "output": s.head,
        "precision": "float32",
        "licence": s.licence,
        "training_data": s.training_data,
        "parity": parity,
        "settings": asdict(s),
    }


def _with_contract(content: bytes, contract: dict[str, Any]) -> bytes:
    """Append a ZIP archive with the contract; a fixed date keeps equal models equal files."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        info = zipfile.ZipInfo("contract.json", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(info, json.dumps(contract, indent=1, ensure_ascii=False, allow_nan=False))
    return buffer.getvalue()


def _write(target: Path, content: bytes) -> None:
    """Write beside and rename, so that no half file ever has the final name."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
