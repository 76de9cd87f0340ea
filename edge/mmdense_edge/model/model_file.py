"""Model files: read whole, with their contract and checksum checked."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from mmdense_edge.errors import ModelError, refuse_if
from mmdense_edge.model.container import split
from mmdense_edge.model.contract import Contract, parse

MAX_FILE_BYTES = 512 << 20


@dataclass(frozen=True)
class Model:
    """A model file, read and checked.

    Args:
        path: The file.
        contract: Its contract.
        content: The TFLite flatbuffer, without the archive.
        file_bytes: Size of the file.
    """

    path: Path
    contract: Contract
    content: bytes = field(repr=False)
    file_bytes: int


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file and check its contract and checksum; start no interpreter.

    Args:
        path: A .tflite file with a contract.

    Raises:
        ModelError: The file or its contract cannot be used; the message says why, in one line.
    """
    path = Path(path)
    refuse_if(
        not path.is_file(),
        f"no model file at {path}. Give the path of a .tflite file",
        ModelError,
    )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
    refuse_if(
        len(data) > MAX_FILE_BYTES,
        f"{path} is larger than {MAX_FILE_BYTES} bytes, the limit of a model file",
        ModelError,
    )
    try:
        content, text = split(data)
        contract = parse(text)
        digest = hashlib.sha256(content).hexdigest()
        refuse_if(
            digest != contract.model_sha256,
            f"checksum mismatch: the contract says {contract.model_sha256[:12]}..., "
            f"the model has {digest[:12]}...: copy or export the model again",
            ModelError,
        )
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Model(path, contract, content, len(data))


def read_contract(path: str | os.PathLike[str]) -> Contract:
    """Return the contract of a model file.

    Args:
        path: A .tflite file with a contract.

    Raises:
        ModelError: As `load_model`.
    """
    return load_model(path).contract
