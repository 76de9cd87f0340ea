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
from small import read_history
from trees import make_dsd100

import keras_mmdense
from keras_mmdense.data import DatasetError, open_dataset, training_set, validation_set
from keras_mmdense.data.mixing import ExcerptReader
from training.train.cluster import DistributionError, parse_cluster
from training.train.devices import Distribution, open_distribution
from training.train.recipe import Recipe
from training.train.run_folder import STATE

RECIPE = """
frames = 8
batch_size = 4
examples = 12
epochs = 2
clipnorm = 0.01
ema = 0.5
sum_weight = 0.5
[model]
preset = "mdensenet"
sources = ["bass", "vocals"]
shared = true
head = "mask"
bins = 64
growth = 2
layers = 1
scales = 1
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
from training import trainer
from training.train.__main__ import main
steps, plain = [], trainer._Watch.on_train_batch_end
def stop(self, batch, logs=None):
    steps.append(batch)
    if len(steps) == 5:
        signal.raise_signal(signal.SIGTERM)
    plain(self, batch, logs)
trainer._Watch.on_train_batch_end = stop
assert main(sys.argv[1:]) == 130 and len(steps) == 5
sys.exit(main([*sys.argv[1:], "--resume"]))
"""
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    (folder / "mini.toml").write_text(RECIPE)
    return make_dsd100(folder / "DSD100", 3, 1, seconds=1.0)


@contextmanager
def started(tree, out, *more, script=None, environments=({},)):
    """Start the command in one process per environment; none of them outlives the block."""
    head = ["-c", script] if script else ["-m", "training.train"]
    recipe = str(tree.parent / "mini.toml")
    command = [sys.executable, *head, recipe, "--data", str(tree), "--out", str(out), *more]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | quiet | extra, start_new_session=True,
        )
        for extra in environments
    ]  # fmt: skip
    timer = threading.Timer(TIMEOUT, kill, [processes])
    timer.start()
    try:
        yield processes
    finally:
        timer.cancel()
        kill(processes)


def kill(processes):
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def train(*arguments, **options):
    """Run the command to its end; return what each process wrote."""
    with started(*arguments, **options) as processes:
        told = [process.communicate(timeout=TIMEOUT) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), told
    return told


def free_ports(count):
    """Ports of this machine that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def cluster(count):
    """TF_CONFIG of each worker."""
    hosts = [f"127.0.0.1:{port}" for port in free_ports(count)]
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
def one_device(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "run"
    train(tree, out)
    return out


def test_two_workers_reach_the_weights_of_one_and_resume(tree, one_device, tmp_path):
    out = tmp_path / "run"
    options = ("--strategy", "multiworker", "--epochs")
    told = train(tree, out, *options, "1", environments=cluster(2))
    assert "2 replicas" in told[0][0]
    assert told[1][0] == ""  # the other one is silent
    train(tree, out, *options, "2", "--resume", environments=cluster(2))
    assert_same_weights(one_device, out, TOLERANCE)
    assert {path.name for path in out.iterdir()} == {path.name for path in one_device.iterdir()}


def test_a_stopped_chief_saves_and_the_others_end(tree, tmp_path):
    out = tmp_path / "run"
    options = ("--strategy", "multiworker", "--epochs", "9999")
    with started(tree, out, *options, environments=cluster(2)) as (chief, worker):
        for line in chief.stdout:
            if line.startswith("Epoch 3/"):
                chief.send_signal(signal.SIGTERM)
                break
        told = [process.communicate(timeout=TIMEOUT) for process in (chief, worker)]
    assert (chief.returncode, worker.returncode) == (130, 1), told
    with zipfile.ZipFile(out / "last.keras") as archive:
        assert json.loads(archive.read(STATE))["epoch"] == len(read_history(out / "history.csv"))
    (line,) = [line for line in told[1][1].splitlines() if line.startswith("train: ")]
    assert "all 2 workers must run to the end" in line


def test_two_devices_reach_the_weights_of_one(tree, one_device, tmp_path):
    told = train(tree, tmp_path / "run", "--strategy", "mirrored", script=MIRRORED)
    assert "2 replicas" in told[0][0]
    assert_same_weights(one_device, tmp_path / "run", TOLERANCE)


def test_two_devices_of_jax_reach_the_weights_of_one_and_resume_exactly(tree, tmp_path):
    one, two, parts = (tmp_path / name for name in ("one", "two", "parts"))
    # what is compiled once serves the second run, too
    cached = JAX | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    cached |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    train(tree, one, environments=[cached])
    told = train(tree, two, "--strategy", "mirrored", environments=[JAX | TWO_DEVICES])
    assert "2 replicas" in told[0][0]
    assert_same_weights(one, two, TOLERANCE)
    train(tree, parts, script=STOPPED, environments=[cached])
    assert_same_weights(one, parts, 0, "val_")  # the training loss is of the last steps alone


def test_workers_share_each_batch_and_read_only_their_part(tree, monkeypatch):
    tracks = list(open_dataset(tree))
    s = keras_mmdense.settings_of(keras_mmdense.build(**RECIPE_MODEL))
    read = []
    plain = ExcerptReader.__call__

    def note(self, index):
        read.append(int(index))
        return plain(self, index)

    monkeypatch.setattr(ExcerptReader, "__call__", note)
    options = {"frames": 8, "batch_size": 4, "examples": 12, "epoch": 1, "first_step": 1}
    whole = [x.numpy() for x, _ in training_set(tracks, s, **options)]
    assert sorted(read) == list(range(16, 24))
    parts = []
    for index in range(2):
        read.clear()
        data = training_set(tracks, s, **options, shard=(index, 2))
        parts.append([x.numpy() for x, _ in data])
        assert sorted(read) == list(range(16 + index, 24, 2))
        assert len(data) == len(parts[-1]) == 2
    for batch, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(batch[0::2], first)
        np.testing.assert_array_equal(batch[1::2], second)


def test_workers_share_the_validation_set(tree):
    tracks = list(open_dataset(tree))
    s = keras_mmdense.settings_of(keras_mmdense.build(**RECIPE_MODEL))
    options = {"frames": 8, "batch_size": 4, "excerpts_per_track": 2}  # 8 examples or more
    whole = list(validation_set(tracks[:3], s, **options))
    parts = [list(validation_set(tracks[:3], s, **options, shard=(k, 2))) for k in range(2)]
    assert [len(x) for x, _ in whole] == [4, 2]
    for batch, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(batch[0][0::2], first[0], atol=1e-4)
        np.testing.assert_allclose(batch[1]["bass"][1::2], second[1]["bass"], atol=1e-4)
    for shard in ((2, 2), (-1, 2), (0, 3)):
        with pytest.raises(DatasetError, match="shard must be"):
            validation_set(tracks, s, **options, shard=shard)


RECIPE_MODEL = {
    "preset": "mdensenet",
    "sources": ["bass", "vocals"],
    "shared": True,
    "bins": 64,
    "growth": 1,
    "layers": 1,
    "scales": 1,
}


def test_a_chief_comes_before_the_workers():
    hosts = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    for place, task in enumerate((("chief", 0), ("worker", 0), ("worker", 1))):
        config = {"cluster": hosts, "task": dict(zip(("type", "index"), task, strict=True))}
        assert parse_cluster(json.dumps(config)) == (place, 3)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("", "be JSON; received nothing"),
        ("{", "be JSON"),
        ("[1]", "cluster"),
        ('{"cluster": {"ps": ["a:1"]}}', "cluster"),
        ('{"cluster": {"worker": "a:1"}}', "host:port"),
        ('{"cluster": {"worker": ["a"]}}', "host:port"),
        ('{"cluster": {"worker": ["a:1", "b:99999"]}}', "host:port"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}}', "each address once"),
        ('{"cluster": {"worker": ["a:1"], "chief": ["b:1", "c:1"]}}', "one chief at most"),
        ('{"cluster": {"worker": ["a:1"]}}', "have a task among"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "task among"),
    ],
)
def test_wrong_clusters_are_refused_in_one_line(config, words, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(DistributionError, match=words) as caught:
        open_distribution("multiworker")
    assert "\n" not in str(caught.value)
    assert "Example" in str(caught.value)


def test_recipes_that_cannot_be_spread_are_refused():
    with pytest.raises(DistributionError, match="batch_size must be a multiple of the 3"):
        Distribution(replicas=3).check(Recipe("r", batch_size=8))
    with pytest.raises(DistributionError, match="accumulate must be 1"):
        Distribution("a strategy", replicas=2).check(Recipe("r", batch_size=8, accumulate=2))
    Distribution().check(Recipe("r", batch_size=3, accumulate=2))
    assert Distribution(replicas=3).round_up(8) == 9
    assert Distribution().round_up(8) == 8
