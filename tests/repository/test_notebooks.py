"""The notebooks run from top to bottom, and what is saved of them is fit to be read by others."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOCAL = re.compile(r"(?<![\w.])/(?:tmp|home|root|work|Users|var|private|opt|usr)/[\w.-]+")
# what a notebook must have printed when it has run
PRINTED = {
    "00_separate_your_song": [],
    "01_build_and_look": ["trainable weights  277,622", "counted: (98, 98)", "measured: frame 160"],
    "02_train_dsd100": ["7 tracks (train 7)", "('bass', 'drums', 'other', 'vocals')"],
    "03_quantize_and_compare": ["float32 ", "float16 ", "int8 ", "Keras "],
    "04_your_own_stems": ["fault: train/song 2", "Fine-tuned on two remixes", "largest difference"],
    "05_musdb18": ["valid/Leaf - Summerghost", "[AM Contra - Heart Peripheral]", "vocals "],
}


def check(notebook, name):
    """Every cell ran without a warning; the outputs are whole and name no folder of a machine."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    printed = "".join(o.get("text", "") for o in outputs)
    shown = [o.get("data", {}) for o in outputs]
    assert LOCAL.findall(printed + "".join(data.get("text/plain", "") for data in shown)) == []
    for words in PRINTED[name]:
        assert words in printed
    assert any("image/png" in data for data in shown)
    assert len(nbformat.writes(notebook)) <= 2_000_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own packages
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "edge").symlink_to(ROOT / "edge")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "example_data.py").symlink_to(ROOT / "notebooks" / "example_data.py")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    check(notebook, path.stem)
    assert [place.name for place in folder.iterdir()] == ["example_data.py"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_saved_outputs_are_whole_small_and_of_no_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    check(notebook, path.stem)


def test_every_notebook_is_known_here():
    assert [path.stem for path in NOTEBOOKS] == list(PRINTED)
