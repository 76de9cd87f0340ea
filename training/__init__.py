"""Training and evaluation, run from the checkout: `python -m training.train`."""

import os

import mmdense_edge.cli.main

# by its whole name: `prepare` alone would hide the module training.prepare
mmdense_edge.cli.main.prepare(own_process=False)
# The commands draw into files. The backend of a notebook's shell may be absent here, and importing
# Keras fails where MPLBACKEND names one that does not exist.
os.environ["MPLBACKEND"] = "agg"
