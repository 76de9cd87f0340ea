"""What a training step frees stays with the process, whatever TensorFlow sets for generators."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import ctypes, platform
import tensorflow as tf
from training.malloc import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

def given_back():
    "Of 24 MiB, in MiB, once they are freed."
    block = libc.malloc(24 << 20)
    held = libc.mallinfo2()
    libc.free(block)
    left = libc.mallinfo2()
    return round((held.arena + held.hblkhd - left.arena - left.hblkhd) / 2**20)

done = keep_freed_memory()
if platform.libc_ver()[0] != "glibc":
    assert not done
else:
    assert done
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    libc.mallinfo2.restype = Info
    assert given_back() == 0
    signature = tf.TensorSpec((), tf.int32)
    list(tf.data.Dataset.from_generator(lambda: [0], output_signature=signature))
    assert given_back() == 0
    libc.mallopt(-1, 128 << 10)
    libc.mallopt(-3, 128 << 10)
    assert given_back() == 24
"""


def test_freed_memory_is_kept_and_generators_do_not_change_that():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
