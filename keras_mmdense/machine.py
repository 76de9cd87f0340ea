"""What the machine has."""

from __future__ import annotations

import os


def memory_bytes() -> int | None:
    """Return the machine's memory, or None where the system does not tell (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
