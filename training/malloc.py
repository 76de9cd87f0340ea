"""Freed memory stays with the process: by itself TensorFlow gives it back after each step."""

from __future__ import annotations

import ctypes
import platform

import tensorflow as tf

# mallopt()'s numbers, of malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MOST, LARGEST = 2**31 - 1, 32 << 20  # the largest values that mallopt() takes


def keep_freed_memory() -> bool:
    """Have glibc keep freed blocks of less than 32 MiB, for the next step to use.

    When a data set of a generator is first read, TensorFlow lowers glibc's M_TRIM_THRESHOLD to
    128 KiB. From then on each step's memory goes back to the system and is mapped anew, page by
    page, which takes time.

    Returns:
        Whether it was done; other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    signature = tf.TensorSpec((), tf.int32)
    # TensorFlow lowers it here, and not later
    list(tf.data.Dataset.from_generator(lambda: [0], output_signature=signature))
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_TRIM_THRESHOLD, MOST) and mallopt(M_MMAP_THRESHOLD, LARGEST))
