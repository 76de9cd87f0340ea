"""Describe the machine that runs the measurement."""

import os
import platform
import sys
from pathlib import Path

from mmdense_edge.model import interpreter


def describe() -> dict[str, str | int | float | None]:
    """Describe the machine.

    Returns:
        cpu, cores (that this process may use), os and python; load is the average of the last
        minute, None if the system has none.
    """
    return {
        "cpu": cpu_name(),
        "cores": interpreter.free_cores(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cpu_name(
    cpuinfo: Path = Path("/proc/cpuinfo"), board: Path = Path("/proc/device-tree/model")
) -> str:
    """Return the processor's name, or the board's name for a single-board computer.

    Args:
        cpuinfo: Linux' file of processors.
        board: Linux' file with the board's name.
    """
    if board.is_file():
        return board.read_text("utf-8", "replace").strip("\0\n ")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
    return platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Return the machine's memory in bytes, or None if the system does not report it (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def peak_memory_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """Return the most memory that this process has had resident, or None where that is unknown.

    Args:
        status: Linux' file of the process.
    """
    if status.is_file():
        # Not getrusage: its figure can be that of the process which started this one.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
