"""What `make test-arm64` rests on: when it is skipped, what is emulated, what counts as equal."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

ARM64 = Path(__file__).parents[2] / "edge" / "arm64"
NAMES = ("compare", "run", "separate", "userland")


@pytest.fixture
def arm64(monkeypatch):
    """The scripts as modules; they are no package, and import one another by name."""
    monkeypatch.syspath_prepend(str(ARM64))
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    for name in NAMES:
        sys.modules.pop(name)


@pytest.fixture
def results(tmp_path):
    """Two equal folders as `separate.py` writes them, of a float and of a quantized model."""
    generator = np.random.default_rng(0)
    stem, answer = generator.uniform(-0.5, 0.5, (100, 2)), np.arange(32).reshape(4, 8) / 256
    for folder in (tmp_path / "found", tmp_path / "expected"):
        for model in ("float", "small"):
            (folder / model / "song").mkdir(parents=True)
            sf.write(folder / model / "song" / "vocals.wav", stem, 44100, subtype="FLOAT")
        np.savez(folder / "small.npz", vocals=answer)
    return tmp_path / "found", tmp_path / "expected"


def test_equal_results_agree(arm64, results):
    found = list(arm64.compare.compare(*results, ["float", "small"]))
    assert [line[:32].strip() for line, _ in found] == [
        *("float: vocals, stem", "small: vocals, answer", "small: vocals, stem")
    ]
    assert all(passed and "equal" in line for line, passed in found)


@pytest.mark.parametrize(("by", "passed"), [(9e-5, True), (2e-4, False), (np.nan, False)])
def test_stems_of_float_models_agree_to_1e_4(arm64, results, by, passed):
    path = results[0] / "float" / "song" / "vocals.wav"
    audio, rate = sf.read(path)
    audio[50, 1] += by
    sf.write(path, audio, rate, subtype="FLOAT")
    ((line, agrees),) = arm64.compare.compare(*results, ["float"])
    assert agrees is passed
    assert ("TOO FAR" in line) is not passed


@pytest.mark.parametrize(("steps", "passed"), [(1, True), (-1, True), (2, False), (np.nan, False)])
def test_answers_of_quantized_models_agree_to_one_step(arm64, results, steps, passed):
    answer = np.load(results[0] / "small.npz")["vocals"]
    answer[1, 2] += steps / 256
    np.savez(results[0] / "small.npz", vocals=answer)
    (_, answered), (_, stem) = arm64.compare.compare(*results, ["small"])
    assert (answered, stem) == (passed, True)


def test_the_scale_of_an_output_is_read_off_its_values(arm64):
    scale = np.float32(3.7 / 255)
    coded = (np.arange(-100, 100, dtype=np.float32) * scale).reshape(20, 10)
    assert arm64.compare.output_step(coded) == pytest.approx(scale, rel=1e-3)
    assert arm64.compare.output_step(coded) > np.diff(coded.ravel()).max()
    assert arm64.compare.output_step(np.linspace(0, 1, 1000)) == 1 / 256


def test_a_missing_stem_is_no_agreement(arm64, results):
    (results[0] / "float" / "song" / "vocals.wav").unlink()
    with pytest.raises(ValueError, match=r"float: stems \[\], the reference \['song/vocals.wav'\]"):
        list(arm64.compare.compare(*results, ["float"]))


def test_the_probe_gives_the_masks_without_rounding(arm64, model_path):
    from mmdense_edge.model.contract import load_model

    contract = load_model(model_path("int8")).contract
    magnitude = arm64.separate.probe(contract)
    assert magnitude.shape == (contract.frames, contract.bins, contract.channels)
    mantissa, _ = np.frexp(magnitude)
    np.testing.assert_array_equal(mantissa, 0.5)
    for answer in arm64.separate.answers(model_path("int8")).values():
        np.testing.assert_array_equal(answer * 256, np.round(answer * 256))
        assert len(np.unique(answer)) > 50


@pytest.mark.parametrize(
    ("machine", "apt", "user", "reason"),
    [
        ("aarch64", None, 0, "made for x86-64 Linux, this is Linux-aarch64"),
        ("x86_64", None, 0, "qemu-user-static debootstrap not installed; on Debian and Ubuntu: "),
        ("x86_64", "/usr/bin/apt-get", 1000, "qemu-user-static debootstrap not installed"),
        ("x86_64", "/usr/bin/apt-get", 0,
         "apt-get cannot install qemu-user-static debootstrap: E: no net"),
    ],
)  # fmt: skip
def test_what_cannot_be_emulated_is_skipped_with_a_reason(
    arm64, monkeypatch, tmp_path, capsys, machine, apt, user, reason
):
    here = SimpleNamespace(
        system=lambda: "Linux", machine=lambda: machine, platform=lambda: f"Linux-{machine}"
    )
    failed = subprocess.CompletedProcess([], 100, "", "W: old\nE: no net\n")
    monkeypatch.setattr(arm64.run, "platform", here)
    monkeypatch.setattr(arm64.userland, "tool", lambda name: apt if name == "apt-get" else None)
    monkeypatch.setattr(arm64.userland.os, "geteuid", lambda: user)
    monkeypatch.setattr(arm64.userland.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(sys, "argv", ["run.py", "--folder", str(tmp_path / "x")])
    assert arm64.run.main() == 0
    assert capsys.readouterr().out.startswith(f"test-arm64 skipped: {reason}")
    assert not (tmp_path / "x").exists()


def test_a_failed_download_leaves_no_userland_and_one_that_is_there_is_kept(
    arm64, monkeypatch, tmp_path
):
    fake = tmp_path / "debootstrap"
    fake.write_text("#!/bin/sh\necho 'E: cannot resolve deb.debian.org'\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(arm64.userland, "tool", lambda _: str(fake))
    root = tmp_path / "root"
    with pytest.raises(arm64.userland.Skipped, match=r"bookworm .*: E: cannot resolve"):
        arm64.userland.build(root, "bookworm")
    assert not root.exists()
    root.mkdir()
    arm64.userland.build(root, "bookworm")


def test_only_the_newer_processor_has_the_dot_product(arm64, tmp_path):
    told = {}
    for processor in arm64.userland.PROCESSORS:
        arm64.userland.write_processor(tmp_path, processor)
        told[processor] = (tmp_path / "proc" / "cpuinfo").read_text("ascii")
    assert [text.count("processor\t:") for text in told.values()] == [4, 4]
    assert ["asimddp" in text for text in told.values()] == [False, True]
    assert ["0xd08" in text for text in told.values()] == [True, False]
    assert (tmp_path / "sys/devices/system/cpu/online").read_text("ascii") == "0-3\n"


def test_the_environment_s_interpreter_is_the_emulated_one(arm64, monkeypatch, tmp_path, capfd):
    root, folder = tmp_path / "it's a root", tmp_path / "an environment"
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "python3.11").touch()
    emulator = tmp_path / "qemu"
    emulator.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    emulator.chmod(0o755)
    monkeypatch.setattr(arm64.userland, "tool", lambda _: str(emulator))
    python = arm64.userland.environment(root, folder)
    arm64.userland.run([str(python), "-c", "print(1, 2)"], "cortex-a76")
    assert capfd.readouterr().out.splitlines() == [
        *("-cpu", "cortex-a76", "-L", str(root), "-0", str(python)),
        *(str(root / "usr" / "bin" / "python3.11"), "-c", "print(1, 2)"),
    ]
    assert "include-system-site-packages = false" in (folder / "pyvenv.cfg").read_text("utf-8")
