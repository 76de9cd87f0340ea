"""Pictures for papers and reports, as matplotlib figures and as PNG and SVG files.

Every function but `listen`, which returns players for a notebook, returns a
`matplotlib.figure.Figure` and, where it is given a path, writes it. No picture touches pyplot's
state. Colors are told apart with any kind of color vision, and the same values give the same bytes.
Importing this package imports no matplotlib.

In a notebook, `%matplotlib inline` shows the figures.
"""

from keras_mmdense.plot.architecture import architecture
from keras_mmdense.plot.figures import boxes, parity, spectrograms, training_curves
from keras_mmdense.plot.players import listen
from keras_mmdense.plot.style import COLORS, save

__all__ = [
    "COLORS",
    "architecture",
    "boxes",
    "listen",
    "parity",
    "save",
    "spectrograms",
    "training_curves",
]
