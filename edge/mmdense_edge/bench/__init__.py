"""Measurement of a model on this machine."""
