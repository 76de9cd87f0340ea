"""Scores of separated audio: metrics, the command that applies them, and its reports."""

from keras_mmdense.errors import SettingsError


class EvaluationError(SettingsError):
    """An evaluation cannot be run as requested; the message is one line with the way out."""
