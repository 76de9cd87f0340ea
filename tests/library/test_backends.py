"""Build, fit, predict, save and load on JAX, in its own process; all else runs on TensorFlow."""

import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import jax, numpy as np, keras, keras_mmdense
assert keras.backend.backend() == "jax"
model = keras.saving.load_model("model.keras")
small = {"bins": 64, "growth_rate": 2, "num_layers": 1}
x = np.load("x.npy")
np.savez("jax.npz", **model.predict(x, verbose=0))
uniform, jax.random.uniform = jax.random.uniform, None  # is compiled for every shape
kernels = []
for seed in (1, 1, 2):
    keras.utils.set_random_seed(seed)
    fresh = keras_mmdense.build("mdensenet", ("a", "b"), shared=True, **small)
    kernels.append(np.asarray(fresh.get_layer("full_first_conv").kernel))
    assert fresh.get_layer("a_final_conv").get_config()["kernel_initializer"]["class_name"] == (
        "GlorotUniform"
    )
jax.random.uniform = uniform
limit = (6 / (3 * 4 * (2 + 32))) ** 0.5
assert kernels[0].shape == (3, 4, 2, 32) and 0.95 * limit < abs(kernels[0]).max() <= limit
assert (kernels[0] == kernels[1]).all() and (kernels[0] != kernels[2]).all()
keras_mmdense.adapt(fresh, [x])
fresh.compile("adam", "mse")
losses = fresh.fit(x, {"a": x / 2, "b": x / 3}, epochs=8, batch_size=1, verbose=0).history["loss"]
assert losses[-1] < 0.9 * losses[0], losses
fresh.save("fresh.keras")
again = keras.saving.load_model("fresh.keras")
before, after = fresh.predict(x, verbose=0), again.predict(x, verbose=0)
assert all(np.allclose(before[k], after[k], atol=1e-6) for k in ("a", "b"))
assert keras_mmdense.settings_of(again).sources == ("a", "b")
stems = keras_mmdense.separate(again, np.ones((999, 2), np.float32), 44100)
assert stems["a"].shape == (999, 2)
"""


@pytest.mark.slow
def test_jax(small_model, rng, tmp_path):
    x = rng.random((2, 16, 64, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    small_model.save(tmp_path / "model.keras")
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(tmp_path / "jax.npz")
    for source, y in small_model.predict(x, verbose=0).items():
        np.testing.assert_allclose(found[source], y, atol=1e-4)
