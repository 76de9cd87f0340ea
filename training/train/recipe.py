"""Recipes: a model, its data and its training as a small TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from keras_mmdense.band import Band
from keras_mmdense.data import Mixing
from keras_mmdense.data.pipeline import TARGETS
from keras_mmdense.errors import SettingsError, require
from keras_mmdense.model_settings import settings_of
from keras_mmdense.presets import resolve_settings
from keras_mmdense.weights import find_weights
from training.train.losses import LOSSES

RECIPES = Path(__file__).parents[1] / "recipes"
MAX_BYTES = 1 << 20
OPTIMIZERS = ("rmsprop", "adam")
SCHEDULES = ("plateau", "cosine")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how.

    Args:
        name: The file's name without its ending.
        model: Arguments of `keras_mmdense.build`.
        mixing: How examples are mixed.
        frames: Frames of an excerpt.
        batch_size: Examples in a batch.
        examples: Examples in an epoch; None for the length of the data.
        epochs: Epochs to train.
        optimizer: "rmsprop" or "adam".
        learning_rate: Step size at the start.
        target: What a source's estimate is compared with, "magnitude" or "in_phase": see
            `keras_mmdense.data.training_set`.
        loss: Name of a loss in training/train/losses.py; "mse" is the paper's.
        loss_weights: Weight of each source's loss; the others have 1.
        teachers: .keras files or bundled models the mean of whose estimates is mixed into the
            targets. See `keras_mmdense.TrainingModel`.
        teacher_share: The weight of that mean.
        schedule: "plateau": the step size drops when the validation loss no longer falls; "cosine":
            it falls from `learning_rate` to `lowest_rate` over all epochs.
        patience: Epochs without a better validation loss after which the step size drops.
        drop: What it is multiplied by then.
        lowest_rate: It never drops below this.
        stop_after: End after this many epochs without a better validation loss; None for never.
        ema: Momentum of a moving average of the weights, in (0, 1), which is validated and saved
            as best; None for none.
        clipnorm: Largest norm of the gradient of a weight; None for any.
        accumulate: Batches whose gradients are averaged before a step.
        precision: "float32", "bfloat16" or "float16" for the layers' arithmetic; "auto" for the
            faster one of the first two, measured at the start and kept for the whole run.
        jit: Compile with XLA; None leaves it to Keras.
        seed: Seed of weights and data.
        training_data: Data and credits, written into the model.
        license: License of the weights, written into the model.
    """

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    mixing: Mixing = field(default_factory=Mixing)
    frames: int = 128
    batch_size: int = 8
    examples: int | None = None
    epochs: int = 50
    optimizer: str = "rmsprop"
    learning_rate: float = 1e-3
    target: str = "magnitude"
    loss: str = "mse"
    loss_weights: dict[str, float] = field(default_factory=dict)
    teachers: list[str] = field(default_factory=list)
    teacher_share: float = 0.5
    schedule: str = "plateau"
    patience: int = 5
    drop: float = 0.1
    lowest_rate: float = 1e-4
    stop_after: int | None = None
    ema: float | None = None
    clipnorm: float | None = None
    accumulate: int = 1
    precision: str = "float32"
    jit: bool | None = None
    seed: int = 0
    training_data: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        """Check the values that the library does not check itself."""
        whole = [self.frames, self.batch_size, self.epochs, self.patience, self.accumulate]
        whole += [n for n in (self.examples, self.stop_after) if n is not None]
        rates = [
            self.learning_rate,
            self.lowest_rate,
            self.drop,
            self.teacher_share,
        ]
        rates += [n for n in (self.clipnorm, self.ema) if n is not None]
        rates += self.loss_weights.values()
        checks = (
            (
                all(type(n) is int and n >= 1 for n in whole),
                "frames, batch_size, examples, epochs, patience, stop_after and accumulate are "
                "whole numbers of 1 or more",
                whole,
            ),
            (type(self.seed) is int and self.seed >= 0, "seed must be 0 or more", self.seed),
            (
                all(isinstance(n, int | float) and n >= 0 for n in rates),
                "rates and weights are >= 0",
                rates,
            ),
            (type(self.teachers) is list, "teachers must be a list of models", self.teachers),
            (self.target in TARGETS, f"target must be one of {TARGETS}", self.target),
            (self.loss in LOSSES, f"loss must be one of {', '.join(LOSSES)}", self.loss),
            (
                self.optimizer in OPTIMIZERS,
                f"optimizer must be one of {OPTIMIZERS}",
                self.optimizer,
            ),
            (
                self.schedule in SCHEDULES,
                f"schedule must be one of {SCHEDULES}",
                self.schedule,
            ),
            (0 < self.drop <= 1, "drop must be in (0, 1]", self.drop),
            (
                self.jit is None or type(self.jit) is bool,
                "jit must be true, false or left out",
                self.jit,
            ),
            (self.ema is None or 0 < self.ema < 1, "ema must be in (0, 1)", self.ema),
            (
                self.precision in PRECISIONS,
                f"precision must be one of {PRECISIONS}",
                self.precision,
            ),
            (0 < self.learning_rate < 1, "learning_rate must be in (0, 1)", self.learning_rate),
        )
        for holds, rule, received in checks:
            require(holds, rule, received, "")

    @property
    def sources(self) -> Sequence[str]:
        """The sources that the model is trained for."""
        return resolve_settings(**self.model).sources

    @property
    def sample_rate(self) -> int:
        """The rate that the tracks must have, in Hz."""
        return resolve_settings(**self.model).sample_rate


def in_parts(recipe: Recipe, parts: int) -> Recipe:
    """Return the recipe with each batch made in parts, whose gradients are averaged.

    Args:
        recipe: Any recipe.
        parts: What the batch size is divided by.

    Raises:
        SettingsError: The batch size is not divisible by `parts`.

    Example:
        >>> small = in_parts(Recipe("r", batch_size=8), 4)
        >>> small.batch_size, small.accumulate
        (2, 4)
    """
    require(
        parts >= 1 and recipe.batch_size % parts == 0,
        f"--accumulate must divide the batch size of recipe {recipe.name}, {recipe.batch_size}",
        parts,
        "",
    )
    return replace(
        recipe, batch_size=recipe.batch_size // parts, accumulate=recipe.accumulate * parts
    )


def with_terms_of(recipe: Recipe, init: str | None) -> Recipe:
    """Return the recipe with the training data and the license of the weights it starts from."""
    if not init:
        return recipe
    before = settings_of(find_weights(init))
    data, terms, told = recipe.training_data, recipe.license, before.training_data or "unknown"
    if told not in data:
        data = f"{data}; before that: {told}" if data else told
    if before.license not in terms:
        terms = f"{terms}; {before.license}" if terms else before.license
    return replace(recipe, training_data=data, license=terms)


def load_recipe(name: str) -> Recipe:
    """Read a recipe: the name of one in training/recipes, or the path of a TOML file.

    Raises:
        SettingsError: The file does not exist or is not TOML, or has unknown keys or wrong values.

    Example:
        >>> load_recipe("smoke").epochs
        3
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    known = sorted(file.stem for file in RECIPES.glob("*.toml"))
    require(path.is_file(), f"a recipe is one of {', '.join(known)}, or a .toml file", name, "")
    size = path.stat().st_size
    require(size <= MAX_BYTES, f"a recipe has at most {MAX_BYTES} bytes", size, "")
    try:
        table = tomllib.loads(path.read_text("utf-8-sig"))
        mixing = table.pop("mixing", {})
        if "gain" in mixing:
            mixing["gain"] = tuple(mixing["gain"])
        if "bands" in table.get("model", {}):
            table["model"]["bands"] = [Band(**band) for band in table["model"]["bands"]]
        return Recipe(name=path.stem, mixing=Mixing(**mixing), **table)
    except (ValueError, TypeError, AttributeError) as error:
        fit = ", ".join(f.name for f in fields(Recipe) if f.name != "name")
        reason = str(error).rstrip(".")
        raise SettingsError(f"recipe {path}: {reason}. Its keys are {fit}.") from error
