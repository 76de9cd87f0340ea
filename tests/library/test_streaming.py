"""A causal network frame by frame against the whole song."""

import numpy as np
import pytest
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense.normalization import copy_weights
from keras_mmdense.tflite.rewrite import rewrite
from keras_mmdense.tflite.streaming import streaming


@pytest.mark.parametrize(
    "options",
    [
        {"dilation_rate": {"low": (1, 2, 3)}, "fold": 2, "norm": "after", "compression": "log"},
        {
            "preset": "mdensenet",
            "block_output": "all",
            "bottleneck": True,
            "final_kernel_size": (3, 2),
        },
        {
            "preset": "mdensenet",
            "pooling": "max",
            "kernel_size": ((1, 3), (4, 1), (2, 2)),
            "channels": 1,
        },
    ],
)
def test_frame_by_frame_is_the_whole_song(options, rng):
    options = SMALL | {"scales": 1, "head": "mask", "causal": True, "num_layers": 2} | options
    model = keras_mmdense.build(**options)
    disturb(model)
    network = keras_mmdense.build(**options, frames=1)
    copy_weights(model, network)
    song = rng.random((1, 20, *model.input.shape[2:])).astype(np.float32)
    whole = model(song)["vocals"].numpy()
    assert whole.std() > 0.01
    step, taps = streaming(rewrite(network))
    history = np.zeros((20, max(stop for _, stop, _ in taps)), np.float32)
    for frame in range(20):
        past = [
            history[frame - delay, first:stop] * (delay <= frame) for first, stop, delay in taps
        ]
        inputs = [song[:, frame : frame + 1], np.concatenate(past)[None]]
        answer = step.predict_on_batch(inputs)
        history[frame] = answer["present"]
        np.testing.assert_allclose(answer["vocals"][:, 0], whole[:, frame], atol=1e-5)
