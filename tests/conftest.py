"""Settings and small models that many tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest

SMALL = {"bins": 64, "growth": 3, "layers": 2, "final_growth": 3}


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


def disturb(model, seed=0):
    """Move every weight, so that no test passes because of zeros and ones."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name == "settings":
            continue
        for weight in layer.weights:
            value = np.asarray(weight)
            if weight.path.endswith(("variance", "gamma")):
                weight.assign(rng.uniform(0.5, 1.5, value.shape))
            elif weight.path.endswith("count"):
                continue
            else:
                weight.assign(value + 0.1 * rng.standard_normal(value.shape))
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
