"""Separation from files to files."""
