"""Scores of separated audio: metrics, the command that applies them, and its reports."""


class EvaluationError(ValueError):
    """An evaluation cannot be run as requested; the message is one line with the way out."""
