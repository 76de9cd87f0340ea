"""The notebooks run from top to bottom, and what is saved of them is fit to be read by others."""

from pathlib import Path

import nbformat
import pytest

from notebooks.execute import execute, faults, main

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# what a notebook must have printed when it has run
PRINTED = {
    "01_build_and_look": ["trainable weights  277,622", "counted: (98, 98)", "measured: frame 160"],
    "02_train_dsd100": ["7 tracks (train 7)", "('bass', 'drums', 'other', 'vocals')"],
    "03_quantize_and_compare": ["float32 ", "float16 ", "int8 ", "Keras "],
    "04_your_own_stems": ["fault: train/song 2", "Fine-tuned on two remixes", "largest difference"],
}


def printed(notebook):
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    return "".join(o.text for o in outputs if o.get("name") == "stdout")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own packages
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    (tmp_path / "edge").symlink_to(ROOT / "edge")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = execute(nbformat.read(path, as_version=4), folder)
    assert faults(notebook) == []
    for words in PRINTED[path.stem]:
        assert words in printed(notebook)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_saved_outputs_are_whole_small_and_of_no_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert faults(notebook) == []
    for words in PRINTED[path.stem]:
        assert words in printed(notebook)
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", ())
                if "image/png" in o.get("data", {})]  # fmt: skip
    assert pictures


def test_every_notebook_is_known_here():
    assert [path.stem for path in NOTEBOOKS] == list(PRINTED)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_notebook_with_faults_is_not_saved(tmp_path, capsys):
    v4 = nbformat.v4
    code = "import sys\nprint('/home/me/songs')\nprint('careful', file=sys.stderr)"
    notebook = v4.new_notebook(cells=[v4.new_code_cell(code)])
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    assert main([str(path)]) == 1
    told = capsys.readouterr().err
    assert "cell 0 prints /home/me" in told
    assert "an error or a warning" in told
    assert path.read_bytes() == before


def test_sizes_and_missing_outputs_are_told():
    v4 = nbformat.v4
    huge = v4.new_output("stream", text="x" * 1_100_000)
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1"), v4.new_code_cell("2", outputs=[huge])])
    notebook.cells[1].execution_count = 1
    told = faults(notebook)
    assert told[0] == "cell 0 was not executed"
    assert "more than 1000000" in told[1]
