"""Checks of single settings, with messages of one form: the rule, the value, the way out."""

from __future__ import annotations

import re

from keras_mmdense.errors import SettingsError

RESERVED_NAMES = frozenset({"mixture", "residual", "settings", "normalization"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# How the names of the layers inside the networks end: no output may be called so.
_LAYER = re.compile(
    r"(.*_)?(bands|concat|conv|crop|denormalization|fold|joined|mask|norm|output|pool\d+|relu|"
    r"skip\d+|unfold)"
)


def require(holds: bool, rule: str, received: object, way_out: str) -> None:
    """Raise SettingsError unless the rule holds."""
    if not holds:
        raise SettingsError(f"{rule}; received {received!r}. {way_out}")


def is_int(value: object) -> bool:
    """Tell whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_name(what: str, name: object) -> None:
    """Refuse a name that could not stand in a layer's name or would be taken for another."""
    folded = name.lower() if isinstance(name, str) and _NAME.fullmatch(name) else ""
    require(
        bool(folded) and folded not in RESERVED_NAMES and not _LAYER.fullmatch(folded),
        f"{what} must be a letter followed by letters, digits, _ or -, at most 64 in all, and not "
        f"{', '.join(sorted(RESERVED_NAMES))} nor end like a layer's (conv, mask, norm, ...)",
        name,
        "Choose another name.",
    )


def int_tuple(label: str, value: object) -> tuple[int, ...]:
    """Return a tuple of whole numbers of 1 to 4096, or refuse."""
    valid = isinstance(value, list | tuple) and all(is_int(v) and 1 <= v <= 4096 for v in value)
    require(valid, f"{label} must be whole numbers of 1 to 4096", value, "Pass a tuple of int.")
    return tuple(value)  # type: ignore[arg-type]
