"""Fixtures that many tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest
from small import SMALL, disturb


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
