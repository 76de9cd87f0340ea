"""Several devices end with the weights of one.

Each training runs in a process of its own: devices are set up once per process.
"""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from runs import RECIPE, command
from small import read_history
from trees import make_dsd100

pytestmark = pytest.mark.slow

SPREAD = """
frames = 8
batch_size = 4
examples = 12
epochs = 2
clipnorm = 0.01
ema = 0.5
"""
TOLERANCE = 1e-5  # of weights of about 1 after 6 steps of 0.001; rounding, not another function
TIMEOUT = 240
NO_TENSORFLOW = """
import sys
class NoTensorFlow:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name=name)
sys.meta_path.insert(0, NoTensorFlow)
"""
WHOLE = f"""{NO_TENSORFLOW}
from training.train.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
STOPPED = f"""{NO_TENSORFLOW}
import signal
from training.train.__main__ import main
from training.train.trainer import StepWatch

steps, plain = [], StepWatch.on_train_batch_end
def stop(self, batch, logs=None):
    steps.append(batch)
    if len(steps) == 5:
        signal.raise_signal(signal.SIGTERM)
    plain(self, batch, logs)
StepWatch.on_train_batch_end = stop
assert main(sys.argv[1:]) == 130 and len(steps) == 5
sys.exit(main([*sys.argv[1:], "--resume"]))
"""
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "mini.toml").write_text(SPREAD + RECIPE[RECIPE.index("[model]") :])
    make_dsd100(folder / "tree", 3, 1, seconds=1.0)
    return folder


def train(folder, out, *more, script=None, environment=()):
    """Run the command in a process of its own; return what it wrote."""
    head = ["-c", script] if script else ["-m", "training.train"]
    done = subprocess.run(
        [sys.executable, *head, *command(folder, *more, out=out)],
        capture_output=True, text=True, timeout=TIMEOUT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | dict(environment),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def assert_same_weights(a, b, tolerance, scores=""):
    """Compare the files of two runs, and the losses whose names begin with `scores`."""
    for name in ("best.keras", "last.keras"):
        pair = [keras.saving.load_model(run / name, compile=False) for run in (a, b)]
        for x, y in zip(*(model.weights for model in pair), strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=tolerance, err_msg=x.path)
    for x, y in zip(*(read_history(run / "history.csv") for run in (a, b)), strict=True):
        for key in x:
            if key.startswith(scores) and key.endswith("loss"):
                assert x[key] == pytest.approx(y[key], rel=1e-4), key


def test_jax_without_tensorflow_on_two_devices_and_resumed_exactly(folder):
    # what is compiled once serves the second run, too
    cached = JAX | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    cached |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    one, two, parts = (f"jax_{name}" for name in ("one", "two", "parts"))
    train(folder, one, script=WHOLE, environment=cached)
    told = train(folder, two, "--data-parallel", script=WHOLE, environment=JAX | TWO_DEVICES)
    assert "2 devices" in told
    assert_same_weights(folder / one, folder / two, TOLERANCE)
    train(folder, parts, script=STOPPED, environment=cached)
    # the training loss is of the last steps alone
    assert_same_weights(folder / one, folder / parts, 0, "val_")
