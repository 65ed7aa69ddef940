"""Fakes that several tests share."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class FakeEngine:
    """An engine that doubles `x`, records the batches it ran, and can be held or made to fail."""

    def __init__(self, fail_on: Callable[[Arrays], bool] = lambda feeds: False) -> None:
        self.executor = ThreadPoolExecutor(max_workers=1)
        self.batches: list[Arrays] = []
        self.entered = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._fail_on = fail_on

    def hold(self) -> None:
        """Make the next run wait for `let_go`."""
        self._gate.clear()
        self.entered.clear()

    def let_go(self) -> None:
        """Let a held run go on."""
        self._gate.set()

    def run(self, feeds: Arrays) -> Sequence[NDArray[Any]]:
        """Return the doubled input."""
        self.entered.set()
        assert self._gate.wait(10), "the test never let the engine go"
        if self._fail_on(feeds):
            raise RuntimeError("this batch cannot be run")
        self.batches.append(feeds)
        return [feeds["x"] * 2]

    def rows(self) -> list[int]:
        """Return the number of rows of each batch that ran."""
        return [len(next(iter(feeds.values()))) for feeds in self.batches]


def row(value: float, size: int = 1) -> Arrays:
    """Return one request of one row: `size` elements of `value`."""
    return {"x": np.full((1, size), value, np.float32)}
