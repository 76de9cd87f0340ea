"""The model file as a container: a TFLite flatbuffer followed by a ZIP archive with its contract.

TFLite's own metadata tools append the same kind of archive; `unzip -p model.tflite contract.json`
reads it. Files are untrusted input: sizes are checked before anything is read or unpacked.
"""

import io
import struct
import zipfile

from mmdense_edge.errors import ModelError, refuse_if, shortened

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
    refuse_if(data[4:8] != b"TFL3", "not a TFLite model: bytes 4 to 8 are not 'TFL3'", ModelError)
    tail = data[-_END.size :]
    refuse_if(
        not tail.startswith(b"PK\5\6"),
        f"the model has no contract (no archive at the end of the file). {_AGAIN}",
        ModelError,
    )
    try:
        # The end record is checked so that zipfile never reads an unbounded directory.
        _, _, _, here, entries, size, _, _ = _END.unpack(tail)
        zip64 = data[-_END.size - 20 :].startswith(b"PK\6\7")
        refuse_if(
            (here, entries) != (1, 1) or size > MAX_CONTRACT_BYTES or zip64,
            f"the archive must hold exactly one file, {MEMBER}; it lists {entries}. {_AGAIN}",
            ModelError,
        )
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (member,) = archive.infolist()
            refuse_if(
                member.filename != MEMBER,
                f"the archive must hold {MEMBER}; received {shortened(member.filename)!r}",
                ModelError,
            )
            compressed = member.compress_type or member.compress_size != member.file_size
            refuse_if(
                compressed or member.flag_bits & 1,
                f"{MEMBER} must be stored, neither compressed nor encrypted. {_AGAIN}",
                ModelError,
            )
            refuse_if(
                member.file_size > MAX_CONTRACT_BYTES,
                f"{MEMBER} must have at most {MAX_CONTRACT_BYTES} bytes; received "
                f"{member.file_size}",
                ModelError,
            )
            return data[: member.header_offset], archive.read(member)
    except ModelError:
        raise
    except _ZIP_ERRORS as error:
        raise ModelError(
            f"the archive with the contract is damaged ({shortened(str(error))}). {_AGAIN}"
        ) from error
