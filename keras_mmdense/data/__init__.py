"""Data sets: readers for DSD100, MUSDB18, MUSDB18-HQ and track folders, and the tf.data pipeline.

Importing this package loads NumPy and soundfile, and neither TensorFlow nor PyAV.
"""

from keras_mmdense.data.dataset import KINDS, Dataset, open_dataset
from keras_mmdense.data.mixing import Mixing
from keras_mmdense.data.pipeline import training_set, validation_set
from keras_mmdense.data.problems import DatasetError, Fault, TrackError
from keras_mmdense.data.readers import SUBSETS
from keras_mmdense.data.tracks import Track, to_channels

__all__ = [
    "KINDS",
    "SUBSETS",
    "Dataset",
    "DatasetError",
    "Fault",
    "Mixing",
    "Track",
    "TrackError",
    "open_dataset",
    "to_channels",
    "training_set",
    "validation_set",
]
