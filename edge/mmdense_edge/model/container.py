"""The model file as a container: a TFLite flatbuffer followed by a ZIP archive with its contract.

TFLite's own metadata tools append the same kind of archive; `unzip -p model.tflite contract.json`
reads it. Files are untrusted input: sizes are checked before anything is read or unpacked.
"""

import io
import struct
import zipfile

from mmdense_edge.errors import ModelError, shortened

MAX_CONTRACT_BYTES = 1 << 20
MEMBER = "contract.json"

_END = struct.Struct("<4s4H2LH")
_AGAIN = "Copy or export the model again"
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)


def split(data: bytes) -> tuple[bytes, bytes]:
    """Split a model file into the TFLite model and the text of its contract.

    Args:
        data: The whole file.

    Returns:
        (model, contract): The bytes before the archive, and the contract's JSON text.

    Raises:
        ModelError: The file is not a TFLite model, or has no valid archive.
    """
    if data[4:8] != b"TFL3":
        raise ModelError("not a TFLite model: bytes 4 to 8 are not 'TFL3'")
    tail = data[-_END.size :]
    if not tail.startswith(b"PK\5\6"):
        raise ModelError(f"the model has no contract (no archive at the end of the file). {_AGAIN}")
    try:
        # The end record is checked so that zipfile never reads an unbounded directory.
        _, _, _, here, entries, size, _, _ = _END.unpack(tail)
        zip64 = data[-_END.size - 20 :].startswith(b"PK\6\7")
        if (here, entries) != (1, 1) or size > MAX_CONTRACT_BYTES or zip64:
            raise ModelError(
                f"the archive must hold exactly one file, {MEMBER}; it lists {entries}. {_AGAIN}"
            )
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (member,) = archive.infolist()
            if member.filename != MEMBER:
                raise ModelError(
                    f"the archive must hold {MEMBER}; received {shortened(member.filename)!r}"
                )
            compressed = member.compress_type or member.compress_size != member.file_size
            if compressed or member.flag_bits & 1:
                raise ModelError(
                    f"{MEMBER} must be stored, neither compressed nor encrypted. {_AGAIN}"
                )
            if member.file_size > MAX_CONTRACT_BYTES:
                raise ModelError(
                    f"{MEMBER} must have at most {MAX_CONTRACT_BYTES} bytes; received "
                    f"{member.file_size}"
                )
            return data[: member.header_offset], archive.read(member)
    except ModelError:
        raise
    except _ZIP_ERRORS as error:
        raise ModelError(
            f"the archive with the contract is damaged ({shortened(str(error))}). {_AGAIN}"
        ) from error
