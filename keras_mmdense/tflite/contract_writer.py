"""Write the contract of an exported file: everything a runner needs, and a checksum."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from keras_mmdense.receptive_field import context_frames
from keras_mmdense.settings import Settings

CONTRACT_VERSION = 1


def make_contract(
    s: Settings,
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
        "version": CONTRACT_VERSION,
        "name": name,
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "sources": list(s.sources),
        "sample_rate": s.sample_rate,
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
        "precision": precision,
        "licence": s.license,
        "training_data": s.training_data,
        "parity": parity,
        "settings": s.to_dict(),
        **measured,
    }


def with_contract(content: bytes, contract: dict[str, Any]) -> bytes:
    """Append a ZIP archive with the contract; its fixed date makes files reproducible."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        info = zipfile.ZipInfo("contract.json", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(info, json.dumps(contract, indent=1, ensure_ascii=False, allow_nan=False))
    return buffer.getvalue()


def write_whole(target: Path, content: bytes) -> None:
    """Write a temporary file and rename it, so that no partial file ever has the final name."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
