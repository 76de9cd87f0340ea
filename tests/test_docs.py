"""What README and docs refer to is there; the examples in the docstrings run."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import keras_mmdense
import training

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("edge/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_nothing_was_left_to_fill_in():
    for path in [*PAGES, *ROOT.glob("training/recipes/*.toml")]:
        assert not re.search(r"\b[A-Z]+_(TABLE|LINE)\b|: (TIME|SCORE)\b", path.read_text("utf-8"))


MODULES = [
    info.name
    for package in (keras_mmdense, training)
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not info.name.endswith(("__main__", "tfio_decoder"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0
