"""Batches for JAX and PyTorch, read ahead by threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

BATCHES_AHEAD = 4


class ReadAhead(keras.utils.PyDataset):
    """Batches of numbered examples, each pass over them with numbers of its own.

    Args:
        make: Returns the arrays of an example by its number; called from several threads.
        numbers: Returns the numbers of all examples of a pass, by the number of the pass.
        batch_size: Examples in a batch; what is left over is left out.
        finish: Makes what the model takes of a batch; called between steps.

    Attributes:
        waited: Seconds that were spent waiting for batches that were still being read.
    """

    def __init__(
        self,
        make: Callable[[int], dict[str, Any]],
        numbers: Callable[[int], range],
        batch_size: int,
        finish: Callable[[dict[str, Any]], Any],
    ) -> None:
        super().__init__()
        self.waited = 0.0
        self._make, self._numbers, self._batch_size = make, numbers, batch_size
        self._finish = finish
        self._pass, self._last = 0, -1
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        self._ahead: dict[int, Future[dict[str, Any]]] = {}

    def __len__(self) -> int:
        """Return the number of batches of a pass."""
        return len(self._numbers(0)) // self._batch_size

    def __getitem__(self, index: int) -> Any:
        """Return a batch; with the first one after the last one the next pass begins."""
        if index >= len(self):
            raise IndexError(f"the set has {len(self)} batches; received {index}")
        if index == 0 and self._last == len(self) - 1:
            self._pass += 1
            self._ahead.clear()
        self._last = index
        numbers = self._numbers(self._pass)
        for step in range(index, min(len(self), index + 1 + BATCHES_AHEAD)):
            if step not in self._ahead:
                part = numbers[step * self._batch_size : (step + 1) * self._batch_size]
                self._ahead[step] = self._pool.submit(self._read, part)
        start = time.perf_counter()
        batch = self._ahead.pop(index).result()
        self.waited += time.perf_counter() - start
        return self._finish(batch)

    def _read(self, numbers: range) -> dict[str, Any]:
        examples = [self._make(number) for number in numbers]
        return {name: np.stack([one[name] for one in examples]) for name in examples[0]}
