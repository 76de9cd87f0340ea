"""Readers for source separation data sets: DSD100, MUSDB18, MUSDB18-HQ and plain track folders.

Importing this package loads NumPy and soundfile, and neither TensorFlow nor musdb.
"""

from keras_mmdense.data.dataset import KINDS, Dataset, open_dataset
from keras_mmdense.data.faults import DatasetError, Fault, TrackError
from keras_mmdense.data.tracks import SUBSETS, Track, to_channels

__all__ = [
    "KINDS",
    "SUBSETS",
    "Dataset",
    "DatasetError",
    "Fault",
    "Track",
    "TrackError",
    "open_dataset",
    "to_channels",
]
