"""Training by a recipe: `python -m training.train`."""
