"""Networks frame by frame, or window by window, against the whole song."""

import numpy as np
import pytest
from small import SMALL, disturb

import keras_mmdense
from keras_mmdense.normalization import copy_weights
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.tflite.rewrite import rewrite
from keras_mmdense.tflite.streaming import streaming, windowed


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


@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (8, {"sources": ("a", "b"), "scales": 2}),
        (4, {"norm": "after", "shared": True, "sources": ("a", "b"), "fold": 2, "scales": 2}),
        (2, {"scales": 1, "kernel_size": {"full": (4, 3)}, "pooling": "max", "bottleneck": True}),
        (16, {"preset": "mdensenet", "block_output": "all", "scales": 3, "num_layers": 1}),
        (1, {"scales": 0}),
    ],
)
def test_window_by_window_is_the_whole_song(frames, options, rng):
    model = keras_mmdense.build(**SMALL | options)
    disturb(model)
    settings = keras_mmdense.settings_of(model)
    context = -(-(context_frames(settings) + settings.frame_multiple) // frames) * frames
    song = rng.random((1, 2 * context + 3 * frames, *model.input.shape[2:])).astype(np.float32)
    whole = model(song)
    step, [(first, after, delay)] = windowed(rewrite(model), frames, context)
    assert (first, delay) == (0, 1)
    answers = [{"present": np.zeros((1, after), np.float32)}]
    for start in range(0, song.shape[1], frames):
        inputs = [song[:, start : start + frames], answers[-1]["present"]]
        answers.append(step.predict_on_batch(inputs))
    for source, expected in whole.items():
        found = np.concatenate([answer[source] for answer in answers[1:]], axis=1)
        # what depends on frames before the song is not compared: here, it has silence there
        expected = expected[:, context : song.shape[1] - context]
        assert np.std(expected) > 0.01
        np.testing.assert_allclose(found[:, 2 * context :], expected, atol=2e-5)
