"""What devices a run has and what they can hold."""

import os
import subprocess
import sys
from unittest.mock import Mock

import pytest

import keras_mmdense
from keras_mmdense.errors import SettingsError
from training.train import devices
from training.train.devices import check_memory, open_devices, step_bytes
from training.train.recipe import Recipe, in_parts, load_recipe


def test_several_devices_need_jax():
    with pytest.raises(SettingsError, match=r"received 'tensorflow'\. Set KERAS_BACKEND=jax"):
        open_devices(Recipe("r"), parallel=True)


def test_a_batch_must_divide_evenly(monkeypatch):
    monkeypatch.setattr(devices.keras.config, "backend", lambda: "jax")
    monkeypatch.setattr(devices.keras.distribution, "list_devices", lambda: ["gpu:0"] * 3)
    monkeypatch.setattr(devices.keras.distribution, "DataParallel", Mock())
    monkeypatch.setattr(devices.keras.distribution, "set_distribution", Mock())
    with pytest.raises(SettingsError, match="batch_size must be a multiple of the 3"):
        open_devices(Recipe("r", batch_size=8), parallel=True)
    assert open_devices(Recipe("r", batch_size=9), parallel=True) == 3


@pytest.fixture(scope="module")
def smoke():
    recipe = load_recipe("smoke")
    return recipe, keras_mmdense.build(**recipe.model)


def test_memory_grows_with_what_is_fed(smoke):
    recipe, model = smoke
    one = step_bytes(model, recipe)
    assert step_bytes(model, in_parts(recipe, recipe.batch_size)) * recipe.batch_size == one
    assert step_bytes(model, Recipe("r", frames=64, batch_size=recipe.batch_size)) == 2 * one
    halved = Recipe("r", frames=32, batch_size=recipe.batch_size, precision="bfloat16")
    assert step_bytes(model, halved) == one / 2


def test_the_paper_s_step_was_measured():
    """6.3 GB with one excerpt, 10.3 GB with two: 4.0 GB each, of 4 networks (scaling.md)."""
    recipe = load_recipe("paper")
    assert len(recipe.model["sources"]) == 4
    one_network = keras_mmdense.build(**recipe.model | {"sources": "vocals"})
    one = step_bytes(one_network, in_parts(recipe, 8))
    assert 4 * one == pytest.approx(4.03e9, rel=0.05)


def test_what_does_not_fit_is_refused_and_the_way_out_fits(smoke, monkeypatch):
    recipe, model = smoke
    needs = step_bytes(model, recipe)
    monkeypatch.setattr(devices, "memory_bytes", lambda: 0.6 * needs)
    with pytest.raises(SettingsError, match="--accumulate 4 makes each batch in 4 parts"):
        check_memory(model, recipe)
    check_memory(model, in_parts(recipe, 4))
    monkeypatch.setattr(devices, "memory_bytes", lambda: 0.1 * needs)
    with pytest.raises(SettingsError, match="lower its frames"):
        check_memory(model, recipe)
    monkeypatch.setattr(devices.keras.distribution, "list_devices", lambda: ["gpu:0"])
    check_memory(model, recipe)  # a GPU reports it itself


SCRIPT = """
import ctypes, platform
import tensorflow as tf
from training.train.devices import keep_freed_memory

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


def test_freed_memory_is_kept_and_generators_do_not_change_that(request):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=request.config.rootpath, capture_output=True, text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
