"""Measure models on this machine."""
