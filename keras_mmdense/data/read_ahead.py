"""Batches for JAX and PyTorch, read ahead by threads."""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

BATCHES_AHEAD = 4


class ReadAhead(keras.utils.PyDataset):
    """Batches of numbered examples; every pass over the set has its own numbers.

    Args:
        make: Returns the arrays of the example with this number; called from several threads.
        numbers: Returns the numbers of all examples of the pass with this number.
        batch_size: Examples in a batch; examples that do not fill a batch are left out.
        finish: Turns a batch into what the model takes; called between steps.

    Attributes:
        waited: Seconds spent waiting for batches that were still being read.
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
        self._pass = self._position = 0
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        self._ahead: dict[int, Future[dict[str, Any]]] = {}

    def __len__(self) -> int:
        """Return the number of batches of a pass."""
        return len(self._numbers(0)) // self._batch_size

    def on_epoch_begin(self) -> None:
        """Start the pass again, of which Keras may have read batches to build the model."""
        self._position = 0
        self._ahead.clear()

    def __getitem__(self, index: int) -> Any:
        """Return the next batch, whatever the index: `fit` shuffles indices by default.

        The next pass begins after the last batch.
        """
        if index >= len(self):
            raise IndexError(f"the set has {len(self)} batches; received {index}")
        numbers, position = self._numbers(self._pass), self._position
        for step in range(position, min(len(self), position + 1 + BATCHES_AHEAD)):
            if step not in self._ahead:
                part = numbers[step * self._batch_size : (step + 1) * self._batch_size]
                self._ahead[step] = self._pool.submit(self._read, part)
        start = time.perf_counter()
        batch = self._ahead.pop(position).result()
        self.waited += time.perf_counter() - start
        self._position += 1
        if self._position == len(self):
            self._position, self._pass = 0, self._pass + 1
        return self._finish(batch)

    def _read(self, numbers: range) -> dict[str, Any]:
        examples = [self._make(number) for number in numbers]
        return {name: np.stack([one[name] for one in examples]) for name in examples[0]}
