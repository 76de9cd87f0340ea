"""Scores of separated audio: metrics, the command that applies them, and its reports."""
