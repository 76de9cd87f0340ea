"""Separation while the music plays."""
