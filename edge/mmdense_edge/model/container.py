"""The model file as a container: a TFLite flatbuffer followed by a ZIP archive with its contract.

The archive is what TFLite's own metadata tools append: `unzip -p model.tflite contract.json` reads
it. A file from outside is data: sizes are checked before anything is read or unpacked.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

from mmdense_edge.errors import ModelError, shortened

MAX_FILE_BYTES = 512 << 20
MAX_CONTRACT_BYTES = 1 << 20
MEMBER = "contract.json"

_END = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR_BYTES = 20
_AGAIN = "copy or export the model again"
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)


def read_model_file(path: str | os.PathLike[str]) -> bytes:
    """Reads a model file, refusing what is not a regular file of a sensible size.

    Args:
        path: the file.

    Returns:
        The whole file.

    Raises:
        ModelError: missing, not a regular file, empty, larger than 512 MiB, unreadable.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"no model file at {path}: give the path of a .tflite file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"{path} is larger than {MAX_FILE_BYTES} bytes, the limit of a model file")
    return data


def split(data: bytes) -> tuple[bytes, bytes]:
    """Splits a model file into the TFLite model and the text of its contract.

    Args:
        data: the whole file.

    Returns:
        (model, contract): the bytes before the archive, and the contract's JSON text.

    Raises:
        ModelError: not a TFLite model, no archive, or not the one archive that the format allows.
    """
    if data[4:8] != b"TFL3":
        raise ModelError("not a TFLite model: bytes 4 to 8 are not 'TFL3'")
    _check_end(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (member,) = archive.infolist()
            _check_member(member)
            return data[: member.header_offset], archive.read(member)
    except ModelError:
        raise
    except _ZIP_ERRORS as error:
        told = shortened(str(error))
        raise ModelError(f"the archive with the contract is damaged ({told}): {_AGAIN}") from error


def _check_end(data: bytes) -> None:
    """Checks the archive's end record, so that zipfile never meets an unbounded directory."""
    tail = data[-_END.size :]
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise ModelError(f"the model carries no contract (no archive at its end): {_AGAIN}")
    _, _, _, here, entries, size, _, _ = _END.unpack(tail)
    zip64 = data[-_END.size - _ZIP64_LOCATOR_BYTES :].startswith(b"PK\6\7")
    if (here, entries) != (1, 1) or size > MAX_CONTRACT_BYTES or zip64:
        raise ModelError(
            f"the archive must hold exactly one file, {MEMBER}; it lists {entries}: {_AGAIN}"
        )


def _check_member(member: zipfile.ZipInfo) -> None:
    """Checks the archive's one member before it is read."""
    if member.filename != MEMBER:
        raise ModelError(f"the archive must hold {MEMBER}, found {shortened(member.filename)!r}")
    stored = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
    if not stored or member.flag_bits & 1:
        raise ModelError(f"{MEMBER} must be stored, neither compressed nor encrypted: {_AGAIN}")
    if member.file_size > MAX_CONTRACT_BYTES:
        raise ModelError(
            f"{MEMBER} may have {MAX_CONTRACT_BYTES} bytes at most, found {member.file_size}"
        )
