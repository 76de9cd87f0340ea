"""The receptive field against what a changed frame really changes."""

import numpy as np
import pytest
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense.receptive_field import context_frames, receptive_field


@pytest.mark.parametrize(
    "options",
    [
        {"scales": 1},
        {"scales": 2, "num_layers": 1},
        {"scales": 2, "kernel_size": {"low": ((5, 3), (3, 3), (1, 3), (3, 3), (4, 3))}},
        {"norm": "after", "scales": 1, "final_num_layers": 1, "final_kernel_size": (4, 1)},
        {"block_output": "all", "bottleneck": True, "scales": 1, "num_layers": 1},
        {"causal": True, "scales": 2, "dilation_rate": (1, 3, 2, 1, 1)},
        {"causal": True, "scales": 1, "norm": "after", "fold": 2, "final_kernel_size": (2, 1)},
    ],
)
def test_no_frame_further_away_matters_and_the_last_one_does(options):
    model = keras_mmdense.build(**SMALL | {"bins": 16, "head": "mask"} | options)
    disturb(model)
    settings = keras_mmdense.settings_of(model)
    before, after = receptive_field(settings)
    step, size = settings.frame_multiple, 2 * context_frames(settings) + 8 * settings.frame_multiple
    x = np.random.default_rng(1).random((1, size, 16, 2)).astype(np.float32)
    reference = model(x)["vocals"].numpy()
    reach_before, reach_after = 0, 0
    for frame in range(size // 2, size // 2 + step):
        changed = x.copy()
        changed[:, frame] += 100
        moved = np.abs(model(changed)["vocals"].numpy() - reference).max((0, 2, 3)) > 0
        reach_before = max(reach_before, np.flatnonzero(moved)[-1] - frame)
        reach_after = max(reach_after, frame - np.flatnonzero(moved)[0])
    assert reach_before <= before
    assert reach_after <= after
    # rounding can hide the outermost frames of a large field, not many of them
    assert reach_before >= before - 1
    assert reach_after >= after - 1


@pytest.mark.parametrize("options", [{}, {"norm": "after", "pooling": "max"}])
def test_what_a_causal_model_makes_of_a_songs_beginning_does_not_depend_on_the_rest(options):
    options = {"scales": 2, "dilation_rate": {"low": 4}, "head": "mask"} | options
    model = keras_mmdense.build(**SMALL, causal=True, **options)
    disturb(model)
    song = np.random.default_rng(0).random((1, 61, 64, 2)).astype(np.float32)
    whole = model(song)["vocals"].numpy()
    for frames in (1, 2, 37):
        part = model(song[:, :frames])["vocals"].numpy()
        np.testing.assert_allclose(part, whole[:, :frames], atol=1e-6)
    assert whole.std() > 0.01
