"""Fixtures of the edge tests; none of them needs TensorFlow."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from command_runs import said
from mmdense_edge.cli.main import main
from mmdense_edge.model.model_file import load_model
from mmdense_edge.separator import Separator

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="session")
def model_path() -> Callable[[str], Path]:
    """Returns the path of a test model by its name."""
    return lambda name: DATA / f"{name}.tflite"


@pytest.fixture(scope="session")
def separators() -> dict[str, Separator]:
    """All test models, loaded."""
    return {path.stem: Separator(path) for path in DATA.glob("*.tflite")}


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Returns seeded noise of shape (num_samples, channels) in [-0.5, 0.5]."""

    def make(num_samples: int, channels: int = 2, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        return generator.uniform(-0.5, 0.5, (num_samples, channels)).astype(np.float32)

    return make


@pytest.fixture
def song(tmp_path: Path, noise: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes an audio file of seeded noise, or of given samples."""

    def write(
        name: str = "song.wav",
        audio: np.ndarray | None = None,
        rate: int = 44100,
        subtype: str | None = "PCM_16",
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = noise(20000) if audio is None else audio
        sf.write(path, samples, rate, subtype=subtype)
        return path

    return write


@pytest.fixture
def mmdense(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs `mmdense` in this process; returns (exit code, stdout, lines of stderr)."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        try:
            code = main([*map(str, arguments)])
        except SystemExit as error:
            code = error.code
        printed = capfd.readouterr()
        return code, printed.out, said(printed.err)

    return run


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model file from a test model, with its contract changed."""

    def write(
        changes: dict[str, Any] | None = None,
        *,
        base: str = "shares",
        drop: str | None = None,
        text: bytes | None = None,
        content: bytes | None = None,
        members: tuple[str, ...] = ("contract.json",),
        compression: int = zipfile.ZIP_STORED,
    ) -> Path:
        model = load_model(DATA / f"{base}.tflite")
        with zipfile.ZipFile(model.path) as archive:
            values = json.loads(archive.read("contract.json"))
        content = model.content if content is None else content
        values["model_sha256"] = hashlib.sha256(content).hexdigest()
        values.update(changes or {})
        values.pop(drop, None)
        path = tmp_path / "packed.tflite"
        path.write_bytes(content)
        with zipfile.ZipFile(path, "a", compression) as archive:
            for member in members:
                archive.writestr(member, json.dumps(values) if text is None else text)
        return path

    return write
