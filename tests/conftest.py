"""Fixtures that many tests share."""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest
from small import SMALL, disturb


def pytest_runtest_setup():
    """Seed Keras before a test and its fixtures: its weights are the same in any order."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(20170607)


@pytest.fixture
def rng():
    return np.random.default_rng(20170607)


@pytest.fixture(scope="session")
def small_model():
    """Two sources, shared, masks, weights away from their initial values; read only."""
    import keras_mmdense

    model = keras_mmdense.build(sources=("bass", "vocals"), shared=True, head="mask", **SMALL)
    disturb(model)
    return model


@pytest.fixture(scope="session")
def small_file(small_model, tmp_path_factory):
    """The file of the small model; read only."""
    path = tmp_path_factory.mktemp("model") / "small.keras"
    small_model.save(path)
    return path


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Returns a context in which no file can grow beyond a number of bytes."""

    @contextmanager
    def limited(num_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limited


@pytest.fixture
def terminal() -> Iterator[None]:
    """Signals as in a terminal, whatever the shell that runs the tests ignores."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tracks(tmp_path_factory):
    """Two tracks to train and validate on and one to test on, of a second each; read only."""
    from trees import make_dsd100

    from keras_mmdense.data import open_dataset

    return list(open_dataset(make_dsd100(tmp_path_factory.mktemp("dsd"), 2, 1, seconds=1.0)))
