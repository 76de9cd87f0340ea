"""What `make test-arm64` rests on: what it compares, and what counts as equal."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmdense_edge.model.model_file import load_model

ARM64 = Path(__file__).parents[2] / "edge" / "arm64"
NAMES = ("run", "separate", "userland")


@pytest.fixture(scope="module")
def arm64():
    """The scripts as modules; they are no package, and import one another by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ARM64))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    for name in NAMES:
        sys.modules.pop(name)


@pytest.mark.parametrize(
    ("name", "by", "passed"),
    [
        ("stem", 0, [True]),
        ("stem", 9e-5, [True]),
        ("stem", 2e-4, [False]),
        ("stem", np.nan, [False]),
        ("answer", 1 / 256, [True, True]),
        ("answer", -1 / 256, [True, True]),
        ("answer", 2 / 256, [False, True]),
        ("answer", np.nan, [False, True]),
    ],
)
def test_what_two_processors_made_is_compared(arm64, tmp_path, name, by, passed):
    """Stems of float models agree to 1e-4, answers of quantized ones to one step."""
    values = np.arange(200).reshape(100, 2) / 256
    arrays = {"stem": values, name: values}
    found, expected = tmp_path / "found.npz", tmp_path / "expected.npz"
    np.savez(expected, **arrays)
    arrays |= {"stem": values + 0.1, name: values + by}
    np.savez(found, **arrays)
    lines, agrees = zip(*arm64.run.compare(found, expected), strict=True)
    assert [*agrees] == passed == ["TOO FAR" not in line for line in lines]
    assert ("equal" in lines[0]) is (by == 0)
    np.savez(found, other=values)
    with pytest.raises(ValueError, match=r"found: arrays {'other': .*, the reference has {'stem"):
        list(arm64.run.compare(found, expected))


def test_the_scale_of_an_output_is_read_off_its_values(arm64):
    scale = np.float32(3.7 / 255)
    coded = (np.arange(-100, 100, dtype=np.float32) * scale).reshape(20, 10)
    assert arm64.run.output_step(coded) == pytest.approx(scale, rel=1e-3)
    assert arm64.run.output_step(coded) > np.diff(coded.ravel()).max()
    assert arm64.run.output_step(np.linspace(0, 1, 1000)) == 1 / 256


def test_the_probe_gives_the_masks_without_rounding(arm64, model_path):
    contract = load_model(model_path("int8")).contract
    magnitude = arm64.separate.probe(contract)
    assert magnitude.shape == (contract.frames, contract.bins, contract.channels)
    np.testing.assert_array_equal(np.frexp(magnitude)[0], 0.5)
    for answer in arm64.separate.answers(model_path("int8")).values():
        np.testing.assert_array_equal(answer * 256, np.round(answer * 256))
        assert len(np.unique(answer)) > 50
