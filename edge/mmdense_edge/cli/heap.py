"""What the C library does with freed memory."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def set_thresholds(mmap_bytes: int, trim_bytes: int | None = None) -> bool:
    """Sets from which size on glibc gives freed memory back to the system.

    It concerns the whole process, so commands call it and libraries do not.

    Args:
        mmap_bytes: blocks of this size or more, at most 32 MiB, go back as soon as they are freed.
        trim_bytes: smaller ones do when so much is free at the end of the heap, at most
            2**31 - 1; None leaves it to glibc.

    Returns:
        Whether it is so now; other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return False
    done = mallopt(_M_MMAP_THRESHOLD, mmap_bytes)
    return bool(done and (trim_bytes is None or mallopt(_M_TRIM_THRESHOLD, trim_bytes)))
