"""FNN, BLSTM and BLEND: published sizes, and the form of our models."""

import keras
import numpy as np
import pytest

import keras_mmdense
from keras_mmdense.inspection import parameters
from training.paper.baseline_networks import NETWORKS, build_network

TINY = {"bins": 16, "cells": 6, "hidden": 8, "reduced": 8, "context": 2}


@pytest.fixture(scope="module")
def magnitudes():
    rng = np.random.default_rng(1)
    return rng.rayleigh(size=(4, 24, 16, 2)).astype("float32")


def test_published_sizes():
    def size(cells):  # three layers in two directions, and 2048 values out
        first, later = (4 * cells * (width + cells + 1) for width in (2048, 2 * cells))
        return 2 * (first + 2 * later) + (2 * cells + 1) * 2048

    fnn, blstm, blend = (parameters(build_network(name)) for name in NETWORKS)
    assert blstm == size(250)
    assert blend == fnn + blstm == pytest.approx(9.2e6, rel=0.002)
    assert min(range(400, 700), key=lambda cells: abs(size(cells) - 30.03e6)) == 572


def test_blend_is_the_weighted_sum_of_both(magnitudes):
    model = build_network("blend", **TINY)
    keras_mmdense.adapt(model, [magnitudes])
    parts = [model.get_layer(f"{name}_estimate").output for name in ("fnn", "blstm")]
    fnn, blstm = map(np.asarray, keras.Model(model.input, parts)(magnitudes))
    assert min(fnn.max(), blstm.max()) > 0
    (estimate,) = model(magnitudes).values()
    np.testing.assert_allclose(estimate, 0.25 * fnn + 0.75 * blstm, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "frames"), [("fnn", [10, 11, 12, 13, 14]), ("blstm", [*range(24)])]
)
def test_they_read_as_many_frames_as_they_say(network, frames, magnitudes):
    keras.utils.set_random_seed(3)
    model = build_network(network, **TINY)
    other = magnitudes.copy()
    other[:, 12] *= 3
    one, two = (np.asarray(model(x)["vocals"]) for x in (magnitudes, other))
    assert np.flatnonzero((one != two).any((0, 2, 3))).tolist() == frames
