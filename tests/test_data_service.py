"""Batches made by a tf.data service's processes are the batches made here, in any order."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
from small import read_history
from test_distribution import TIMEOUT, free_ports, train
from trees import make_dsd100, make_folder

import keras_mmdense
from keras_mmdense.data import DatasetError, open_dataset, pipeline
from keras_mmdense.data.served import check_service, wav_layout

SHORT = {"frames": 8, "batch_size": 4, "epoch": 1}


def settings(**options):
    sources = options.pop("sources", ("bass", "vocals"))
    small = {"bins": 64, "growth": 1, "layers": 1, "scales": 1, "shared": True}
    return keras_mmdense.settings_of(keras_mmdense.build(sources=sources, **small | options))


def start(*arguments):
    """Start one part of the service; return it when it says that it runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "training.data_service", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, start_new_session=True,
    )  # fmt: skip
    assert "is running" in process.stdout.readline()
    return process


@pytest.fixture(scope="module")
def service():
    (port,) = free_ports(1)
    processes = []
    try:
        processes.append(start("dispatcher", "--port", str(port)))
        for _ in range(2):
            processes.append(start("worker", "--dispatcher", f"localhost:{port}"))
        yield f"grpc://localhost:{port}"
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = []
        for process in processes:
            try:
                process.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            codes.append(process.returncode)
    assert codes == [0, 0, 0]


def assert_same_batches(here, there):
    """Each batch of one is a batch of the other: mixture and all sources."""
    assert len(here) == len(there)
    left = list(there)
    for mixture, targets in here:
        (place,) = [
            k for k, (x, _) in enumerate(left)
            if x.shape == mixture.shape and np.allclose(x, mixture, atol=1e-4)
        ]  # fmt: skip
        _, found = left.pop(place)
        for source in targets:
            np.testing.assert_allclose(found[source], targets[source], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_service_makes_the_same_batches(service, channels, tmp_path):
    tracks = list(open_dataset(make_dsd100(tmp_path / "DSD100", 2, 1, seconds=0.5)))
    s = settings(channels=channels, sources=("accompaniment", "vocals"))
    options = SHORT | {"examples": 24, "first_step": 1, "seed": 3}
    here = list(pipeline.train(tracks, s, **options))
    there = pipeline.train(tracks, s, **options, service=service)
    assert len(there) == 5
    assert_same_batches(here, list(there))
    half = list(pipeline.train(tracks, s, **options, shard=(1, 2)))
    there = pipeline.train(tracks, s, **options, shard=(1, 2), service=service)
    assert_same_batches(half, list(there))


def test_short_and_mono_files_are_served_too(service, tmp_path):
    tree = make_folder(tmp_path / "tree", 2, seconds=0.02)
    audio, rate = sf.read(tree / "Song 0" / "bass.wav", dtype="int16")
    sf.write(tree / "Song 0" / "bass.wav", audio[:, 0], rate)
    tracks, s = list(open_dataset(tree)), settings()
    options = SHORT | {"frames": 32, "examples": 12}
    here = list(pipeline.train(tracks, s, **options))
    assert_same_batches(here, list(pipeline.train(tracks, s, **options, service=service)))


def test_training_from_the_service(service, tmp_path):
    tree = make_dsd100(tmp_path / "DSD100", 2, 1, seconds=0.5)
    (tmp_path / "mini.toml").write_text(
        "frames = 8\nbatch_size = 4\nexamples = 12\nepochs = 1\n[model]\nsources = ['bass']\n"
        "bins = 64\ngrowth = 1\nlayers = 1\nscales = 1\n"
    )
    train(tree, tmp_path / "run", "--data-service", service)
    (row,) = read_history(tmp_path / "run" / "history.csv")
    assert np.isfinite(row["loss"])


def test_samples_are_found_behind_other_chunks(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.arange(10, dtype=np.int16).reshape(5, 2), 44100)
    plain = path.read_bytes()
    extra = b"LIST" + (5).to_bytes(4, "little") + b"hello\0"  # an odd length is padded
    path.write_bytes(plain[:36] + extra + plain[36:])
    layout = wav_layout(path)
    assert (layout.offset, layout.channels) == (44 + len(extra), 2)
    assert path.read_bytes()[layout.offset :] == np.arange(10, dtype="<i2").tobytes()


@pytest.mark.parametrize("kind", ["float", "flac", "cut", "empty"])
def test_other_files_are_refused(kind, tmp_path):
    path = tmp_path / ("a.flac" if kind == "flac" else "a.wav")
    sf.write(path, np.zeros((50, 2)), 44100, subtype="FLOAT" if kind == "float" else "PCM_16")
    if kind in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: 30 if kind == "cut" else 0])
    with pytest.raises(DatasetError, match="reads 16-bit WAV files") as caught:
        wav_layout(path)
    assert "training.prepare" in str(caught.value)


def test_no_service_is_told_at_once(tmp_path):
    for address in ("localhost:5050", "grpc://localhost", "grpc://localhost:99999", "http://a:1"):
        with pytest.raises(DatasetError, match='must be "grpc://host:port"'):
            check_service(address)
    (port,) = free_ports(1)
    with pytest.raises(DatasetError, match="must answer at"):
        check_service(f"grpc://localhost:{port}")
    tracks = list(open_dataset(make_folder(tmp_path / "tree", 1, seconds=0.2)))
    with pytest.raises(DatasetError, match="needs epoch"):
        pipeline.train(tracks, settings(), frames=8, service=f"grpc://localhost:{port}")


def test_a_port_that_is_taken_is_told(service):
    port = service.rpartition(":")[2]
    command = [sys.executable, "-m", "training.data_service", "dispatcher", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "data_service" in line]
    assert "cannot start" in line
    assert "in use" in line
