"""What README and docs refer to is there; the examples in the docstrings run."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import keras_mmdense
import training

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for each in ("*.md", "docs/**/*.md", "training/**/*.md") for page in ROOT.glob(each)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_published_commands_name_modules_that_exist():
    own = r"python -m ((?:keras_mmdense|mmdense_edge|training|benchmarks)[\w.]*\w)"
    for page in PAGES:
        for name in re.findall(own, page.read_text("utf-8")):
            assert name == "benchmarks.NAME" or importlib.util.find_spec(name), f"{page}: {name}"


def test_contributing_lists_every_product_file():
    (tree,) = re.findall(
        r"^```\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M | re.S
    )
    listed, folders = [], {}
    for indent, name in re.findall(r"^( *)(\S+)", tree, re.M):
        path = folders.get(len(indent) - 2, ROOT) / name
        folders[len(indent)] = path
        listed += [] if name.endswith("/") else [path]
    roots = ("edge/mmdense_edge", "keras_mmdense", "training")
    assert sorted(listed) == sorted(path for root in roots for path in (ROOT / root).rglob("*.py"))


SLOW = ("keras_mmdense.tflite.export",)  # converts a model
MODULES = [
    pytest.param(info.name, marks=[pytest.mark.slow] if info.name in SLOW else [])
    for package in (keras_mmdense, training)
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not info.name.endswith(("__main__", "tfio_decoder"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def run_page(path, folder, monkeypatch, **names):
    """Run a page's Python from top to bottom in a folder; return its variables."""
    monkeypatch.chdir(folder)
    page = (ROOT / "docs" / path).read_text("utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 5
    for snippet in snippets:
        exec(snippet, names)
    return names


@pytest.mark.slow
def test_the_quick_start_runs(tmp_path, monkeypatch):
    """In a folder that holds only the example."""
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "example").symlink_to(ROOT / "edge" / "example")
    names = run_page("start/quick-start.md", tmp_path, monkeypatch)
    losses = names["history"].history["loss"]
    assert losses[-1] < losses[0]
    assert (tmp_path / "mine.tflite").is_file()
    assert sorted(names["stems"]) == sorted(names["sources"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of Keras' export
def test_the_page_on_keras_runs(tmp_path, monkeypatch, tracks):
    names = run_page("how-to/keras.md", tmp_path, monkeypatch, tracks=tracks[:2], valid=tracks[2:])
    assert sorted(names["stems"]) == sorted(names["sources"])
    assert names["fast"].get_layer("full_dense1_layer1_conv").compute_dtype == "bfloat16"
    assert names["fast"].output["vocals"].dtype == "float32"
    trained = {weight.path.split("/")[0] for weight in names["model"].trainable_weights}
    assert any(name.startswith("high_") for name in trained)
    assert not any(name.startswith("low_") for name in trained)
    assert (tmp_path / "plain.tflite").stat().st_size > 10_000


def test_the_recipe_of_the_docs_is_one(tmp_path):
    from training.train.recipe import load_recipe

    page = (ROOT / "docs" / "how-to" / "own-stems.md").read_text("utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "piano.toml").write_text(text)
    assert load_recipe(str(tmp_path / "piano.toml")).model["sources"] == ["piano", "voice"]


def test_every_public_name_is_in_the_reference():
    import mmdense_edge

    for package, page in (
        (keras_mmdense, "keras_mmdense"),
        (keras_mmdense.data, "data"),
        (keras_mmdense.plot, "plot"),
        (mmdense_edge, "mmdense_edge"),
    ):
        text = (ROOT / "docs" / "reference" / f"{page}.md").read_text("utf-8")
        shown = set(re.findall(rf"^::: {package.__name__}\.(\w+)$", text, re.MULTILINE))
        values = {"__version__", "COLORS", "KINDS", "SUBSETS", "data", "plot"}
        assert set(package.__all__) - values <= shown
