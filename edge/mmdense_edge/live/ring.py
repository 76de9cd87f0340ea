"""A buffer of fixed size that is addressed by the position in an endless signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Ring:
    """Holds the last `capacity` rows of a signal; row n of the signal is asked for as n.

    Rows that were never written are zeros.

    Args:
        capacity: rows held.
        shape: of a row, for example (channels,).
        dtype: of the values.

    Example:
        >>> ring = Ring(4, (1,), np.float32)
        >>> ring.write(6, np.ones((3, 1)))
        >>> ring.read(5, 4)[:, 0]
        array([0., 1., 1., 1.], dtype=float32)
    """

    def __init__(self, capacity: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Starts with zeros."""
        self._rows = np.zeros((capacity, *shape), dtype)

    def write(self, start: int, rows: npt.NDArray[Any]) -> None:
        """Puts rows at the positions from `start` on.

        Raises:
            ValueError: more rows than the ring holds.
        """
        place, first = self._place(start, len(rows))
        self._rows[place : place + first] = rows[:first]
        self._rows[: len(rows) - first] = rows[first:]

    def read(self, start: int, count: int) -> npt.NDArray[Any]:
        """Returns a copy of the `count` rows from `start` on.

        Raises:
            ValueError: more rows than the ring holds.
        """
        place, first = self._place(start, count)
        return np.concatenate([self._rows[place : place + first], self._rows[: count - first]])

    def _place(self, start: int, count: int) -> tuple[int, int]:
        """Returns where a stretch starts in the buffer, and its length up to the buffer's end."""
        capacity = len(self._rows)
        if count > capacity:
            raise ValueError(f"the ring holds {capacity} rows, asked for {count}")
        place = start % capacity
        return place, min(count, capacity - place)
