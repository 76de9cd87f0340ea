"""What a step holds in memory: known before it is taken, refused where the machine lacks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from trees import make_dsd100

from training import memory
from training.paper.baseline_networks import build_model
from training.train.__main__ import main
from training.train.memory import check_memory, step_bytes
from training.train.recipe import Recipe, RecipeError, in_parts, load_recipe


@pytest.fixture(scope="module")
def smoke():
    recipe = load_recipe("smoke")
    return recipe, build_model(recipe.model)


def test_it_grows_with_what_is_fed(smoke):
    recipe, model = smoke
    one = step_bytes(model, recipe)
    assert step_bytes(model, in_parts(recipe, recipe.batch_size)) * recipe.batch_size == one
    assert step_bytes(model, Recipe("r", frames=64, batch_size=recipe.batch_size)) == 2 * one
    halved = Recipe("r", frames=32, batch_size=recipe.batch_size, precision="bfloat16")
    assert step_bytes(model, halved) == one / 2


def test_the_paper_s_step_was_measured():
    """6.3 GB with one excerpt, 10.3 GB with two: 4.0 GB each (docs/how-to/scaling.md)."""
    recipe = load_recipe("paper")
    one = step_bytes(build_model(recipe.model), in_parts(recipe, 8))
    assert one == pytest.approx(4.03e9, rel=0.05)


def test_what_does_not_fit_is_refused_and_the_way_out_fits(smoke, monkeypatch):
    recipe, model = smoke
    needs = step_bytes(model, recipe)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 0.6 * needs)
    with pytest.raises(RecipeError, match="--accumulate 4 makes each batch in 4 parts") as caught:
        check_memory(model, recipe)
    assert "\n" not in str(caught.value)
    check_memory(model, in_parts(recipe, 4))
    check_memory(model, recipe, workers=2)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 0.1 * needs)
    with pytest.raises(RecipeError, match="lower its frames"):
        check_memory(model, recipe)
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    check_memory(model, recipe)


def test_a_gpu_tells_itself(smoke, monkeypatch):
    recipe, model = smoke
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1)
    monkeypatch.setattr(memory.keras.distribution, "list_devices", lambda: ["gpu:0"])
    check_memory(model, recipe)


def test_the_command_refuses_in_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    tree = make_dsd100(tmp_path / "DSD100", 2, 1, seconds=1.0)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1 << 20)
    command = ["smoke", "--data", str(tree), "--out", str(tmp_path / "run")]
    for more, words in (([], "fit into memory"), (["--accumulate", "3"], "must divide")):
        assert main([*command, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not (tmp_path / "run").exists()


SCRIPT = """
import ctypes, platform
import tensorflow as tf
from training.train.memory import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

def given_back():
    "Of 24 MiB, in MiB, once they are freed."
    block = libc.malloc(24 << 20)
    held = libc.mallinfo2()
    libc.free(block)
    left = libc.mallinfo2()
    return round((held.arena + held.hblkhd - left.arena - left.hblkhd) / 2**20)

keep_freed_memory()
if platform.libc_ver()[0] == "glibc":
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    libc.mallinfo2.restype = Info
    assert given_back() == 0
    signature = tf.TensorSpec((), tf.int32)
    list(tf.data.Dataset.from_generator(lambda: [0], output_signature=signature))
    assert given_back() == 0
    libc.mallopt(-1, 128 << 10)
    libc.mallopt(-3, 128 << 10)
    assert given_back() == 24
"""


def test_freed_memory_is_kept_and_generators_do_not_change_that():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
