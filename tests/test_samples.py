"""TensorBoard files of a run hold scores, audio and pictures of the validation track."""

import pytest
import tensorflow as tf
from trees import make_dsd100

import keras_mmdense
from keras_mmdense.data import open_dataset
from training.train.recipe import RecipeError
from training.train.tensorboard import Samples


@pytest.fixture
def parts(tmp_path):
    track = open_dataset(make_dsd100(tmp_path / "DSD100", 1, 1, seconds=1.0))[0]
    model = keras_mmdense.build(sources=("bass", "vocals"), shared=True, bins=256, growth=2,
                                layers=1, scales=1)  # fmt: skip
    return model, track, tmp_path / "tb"


def test_scores_audio_and_pictures(parts):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model, track, folder = parts
    samples = Samples(model, track, folder, every=2)
    for epoch in (1, 2, 3):
        samples({"epoch": epoch, "loss": 1 / epoch})
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    steps = {tag: [event.step for event in events.Tensors(tag)] for tag in tags}
    assert steps["loss"] == [1, 2, 3]
    losses = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("loss")]
    assert losses == pytest.approx([1, 1 / 2, 1 / 3])
    for source in ("bass", "vocals"):
        assert steps[f"{source}/reference"] == [1]
        assert steps[f"{source}/estimate"] == steps[f"{source}/estimate_spectrogram"] == [1, 3]
    assert steps["mixture/reference"] == [1]


def test_without_tensorboard_it_says_what_to_install(parts, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(RecipeError, match="pip install tensorboard"):
        Samples(*parts)
