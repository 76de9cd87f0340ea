"""A small model's arguments and weights that are not zeros and ones; the history of a run."""

import csv

import numpy as np

SMALL = {"bins": 64, "growth_rate": 3, "num_layers": 2, "final_growth_rate": 3}


def disturb(model, seed=0):
    """Give every weight a value of its own, so that no test passes because of zeros and ones."""
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
            elif value.ndim > 1:  # not what the initializer drew: the same model every time
                deviation = np.sqrt(2 / np.prod(value.shape[:-1]))
                weight.assign(deviation * rng.standard_normal(value.shape))
            else:
                weight.assign(value + 0.1 * rng.standard_normal(value.shape))
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def read_history(path):
    """Return the epochs of a run's history.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
