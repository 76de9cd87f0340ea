"""Several devices and several processes end with the weights of one, and only one of them writes.

Each training runs in processes of its own: devices and workers are set up once per process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from runs import RECIPE, command
from small import read_history
from trees import make_dsd100

from training.train.run_folder import STATE

pytestmark = pytest.mark.slow

SPREAD = """
frames = 8
batch_size = 4
examples = 12
epochs = 2
clipnorm = 0.01
ema = 0.5
sum_weight = 0.5
"""
TOLERANCE = 1e-5  # of weights of about 1 after 6 steps of 0.001; rounding, not another function
TIMEOUT = 240
MIRRORED = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from training.train.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
STOPPED = """
import signal, sys
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


@contextmanager
def started(folder, out, *more, script=None, environments=({},)):
    """Start the command in one process per environment; none of them outlives the block."""
    head = ["-c", script] if script else ["-m", "training.train"]
    arguments = [sys.executable, *head, *command(folder, *more, out=out)]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    processes = [
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | quiet | extra, start_new_session=True,
        )
        for extra in environments
    ]  # fmt: skip

    def kill():
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(TIMEOUT, kill)
    timer.start()
    try:
        yield processes
    finally:
        timer.cancel()
        kill()


def train(*arguments, **options):
    """Run the command to its end; return what each process wrote."""
    with started(*arguments, **options) as processes:
        told = [process.communicate(timeout=TIMEOUT) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), told
    return told


def cluster(count):
    """Return the TF_CONFIG of each worker, on ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    hosts = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [
        {"TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": task})} for task in tasks
    ]


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


@pytest.fixture(scope="module")
def one_device(folder):
    train(folder, "one")
    return folder / "one"


def test_two_workers_reach_the_weights_of_one_and_resume(folder, one_device):
    options = ("--strategy", "multiworker", "--epochs")
    told = train(folder, "workers", *options, "1", environments=cluster(2))
    assert "2 replicas" in told[0][0]
    assert told[1][0] == ""  # the other one is silent
    train(folder, "workers", *options, "2", "--resume", environments=cluster(2))
    out = folder / "workers"
    assert_same_weights(one_device, out, TOLERANCE)
    assert {path.name for path in out.iterdir()} == {path.name for path in one_device.iterdir()}


def test_a_stopped_chief_saves_and_the_others_end(folder):
    options = ("--strategy", "multiworker", "--epochs", "9999")
    with started(folder, "stopped", *options, environments=cluster(2)) as (chief, worker):
        for line in chief.stdout:
            if line.startswith("Epoch 3/"):
                chief.send_signal(signal.SIGTERM)
                break
        told = [process.communicate(timeout=TIMEOUT) for process in (chief, worker)]
    assert (chief.returncode, worker.returncode) == (130, 1), told
    out = folder / "stopped"
    with zipfile.ZipFile(out / "last.keras") as archive:
        assert json.loads(archive.read(STATE))["epoch"] == len(read_history(out / "history.csv"))
    (line,) = [line for line in told[1][1].splitlines() if line.startswith("train: ")]
    assert "all 2 workers must run to the end" in line


def test_two_devices_reach_the_weights_of_one(folder, one_device):
    told = train(folder, "mirrored", "--strategy", "mirrored", script=MIRRORED)
    assert "2 replicas" in told[0][0]
    assert_same_weights(one_device, folder / "mirrored", TOLERANCE)


def test_two_devices_of_jax_reach_the_weights_of_one_and_resume_exactly(folder):
    # what is compiled once serves the second run, too
    cached = JAX | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    cached |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    one, two, parts = (f"jax_{name}" for name in ("one", "two", "parts"))
    train(folder, one, environments=[cached])
    told = train(folder, two, "--strategy", "mirrored", environments=[JAX | TWO_DEVICES])
    assert "2 replicas" in told[0][0]
    assert_same_weights(folder / one, folder / two, TOLERANCE)
    train(folder, parts, script=STOPPED, environments=[cached])
    # the training loss is of the last steps alone
    assert_same_weights(folder / one, folder / parts, 0, "val_")
