"""Memory of large blocks goes back to the system when they are freed."""

import subprocess
import sys

import pytest

# Frees a block, so that glibc would keep the next ones, then says what stays of 8 blocks of 8 MiB.
PROGRAM = """
import ctypes, sys

if sys.argv[1] == "yes":
    from mmdense_edge.cli import main
    assert main.set_heap_thresholds(6 << 20)
warm = bytearray(24 << 20)
del warm


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


start = resident()
blocks = [bytearray(b"x") * (8 << 20) for _ in range(8)]
keeper = bytearray(b"y") * (64 << 10)
del blocks
print(resident() - start)
"""


@pytest.mark.native
def test_freed_blocks_do_not_stay():
    def left(asked):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, asked], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert left("no") > 32 << 20  # else this test shows nothing
    assert left("yes") < 4 << 20
