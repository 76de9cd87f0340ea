"""A recipe for a run of seconds, and the command that trains it."""

import json

from training.train.__main__ import main

MODEL = {
    "preset": "mdensenet", "sources": ["bass", "vocals"], "shared": True, "head": "mask",
    "bins": 64, "growth_rate": 2, "num_layers": 1, "scales": 1,
}  # fmt: skip
RECIPE = """
frames = 8
batch_size = 2
examples = 8
epochs = {epochs}
jit = false
[model]
"""
RECIPE += "".join(f"{key} = {json.dumps(value)}\n" for key, value in MODEL.items())


def train(folder, *more, epochs=1, out="run", recipe=RECIPE):
    """Train the recipe on the tracks in FOLDER/tree into FOLDER/run; return the exit code."""
    (folder / "mini.toml").write_text(recipe.format(epochs=epochs))
    return main(command(folder, *more, out=out))


def command(folder, *more, out="run"):
    recipe, tree = str(folder / "mini.toml"), str(folder / "tree")
    return [recipe, "--data", tree, "--out", str(folder / out), *more]
