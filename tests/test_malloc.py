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

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.mallinfo2.restype = Info

def given_back():
    "Of 24 MiB, in bytes, once they are freed."
    block = libc.malloc(24 << 20)
    held = libc.mallinfo2()
    libc.free(block)
    left = libc.mallinfo2()
    return held.arena + held.hblkhd - left.arena - left.hblkhd

def read():
    list(tf.data.Dataset.from_generator(lambda: [0], output_signature=tf.TensorSpec((), tf.int32)))

if platform.libc_ver()[0] == "glibc":
    read()
    before = given_back()
    assert keep_freed_memory()
    after = given_back()
    read()
    assert before >= 24 << 20
    assert after == given_back() == 0
else:
    assert not keep_freed_memory()
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
