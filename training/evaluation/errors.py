"""The error of the evaluation commands."""

from __future__ import annotations


class EvaluationError(ValueError):
    """An evaluation cannot be made as asked; the message is one line with the way out."""
