"""Checks of single values of a contract: each returns the value or raises ValueError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

RESERVED_SOURCES = ("mixture", "residual")

# Sources become file names: no dots, no separators, nothing that a terminal would interpret.
_SOURCE = re.compile(r"\w[\w +-]{0,63}")

Check = Callable[[Any], Any]


def is_int(value: Any) -> bool:
    """Tells integers from everything else; JSON's true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(low: int, high: int) -> Check:
    """Returns the check of an integer from `low` to `high`, both included."""

    def check(value: Any) -> int:
        if not is_int(value) or not low <= value <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return int(value)

    return check


def line(high: int) -> Check:
    """Returns the check of a non-empty text of printable characters, `high` at most."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= high or not value.isprintable():
            raise ValueError(f"one line of 1 to {high} characters")
        return value

    return check


def text(high: int) -> Check:
    """Returns the check of any text of `high` characters at most."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > high:
            raise ValueError(f"a text of {high} characters at most")
        return value

    return check


def one_of(choices: tuple[str, ...]) -> Check:
    """Returns the check of one of `choices`."""

    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value)

    return check


def mapping(value: Any) -> dict[str, Any]:
    """Checks an object."""
    if not isinstance(value, dict):
        raise ValueError("an object")
    return value


def names(value: Any) -> dict[str, str]:
    """Checks an object whose values are names."""
    check = line(256)
    return {key: check(name) for key, name in mapping(value).items()}


def numbers(value: Any) -> dict[str, float]:
    """Checks an object whose values are finite numbers."""
    for number in mapping(value).values():
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not is_number or not math.isfinite(number):
            raise ValueError("an object of finite numbers")
    return {key: float(number) for key, number in value.items()}


def positive(value: Any) -> float:
    """Checks a finite number above 0."""
    (number,) = numbers({"": value}).values()
    if number <= 0:
        raise ValueError("a number above 0")
    return number


def sources(value: Any) -> tuple[str, ...]:
    """Checks the list of sources, whose names become file names."""
    rule = "a list of 1 to 64 names, each once, of letters, digits, spaces and _+-"
    if not isinstance(value, list) or not 1 <= len(value) <= 64:
        raise ValueError(rule)
    if not all(isinstance(name, str) and _SOURCE.fullmatch(name) for name in value):
        raise ValueError(rule)
    folded = {name.casefold() for name in value}
    if len(folded) < len(value) or folded.intersection(RESERVED_SOURCES):
        raise ValueError(rule + ", other than " + " and ".join(RESERVED_SOURCES))
    return tuple(value)


def sha256(value: Any) -> str:
    """Checks a SHA-256 in hexadecimal."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError("64 hexadecimal digits in lower case")
    return value
