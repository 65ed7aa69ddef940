"""How many explanations are inside, and how many turns of theirs are under way at once.

    inside() -> (room?) -> turn(): waits behind those of other explanations, oldest first -> a thread, or the model

An explanation has many turns, and each may take a second: a large picture is decoded, drawn, or run under eight masks.
No more of them are under way than there are threads that decode, so none ever waits for a thread that another one is
at: whoever else comes waits until the first of them ends, however many explanations there are. At the threads and in
the model's queue they are calls like any other, and have their turn.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from cuelight.server.errors import Overloaded

__all__ = ["ExplanationTurns"]

_RETRY_AFTER_S = 1.0


class ExplanationTurns:
    """Owned by the servicer, on the event loop."""

    def __init__(self, at_once: int, max_waiting: int) -> None:
        self._max_inside = at_once + max_waiting
        self._turns = asyncio.Semaphore(at_once)
        self._inside = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be one of the explanations that go on. Raises: Overloaded when there are as many as may be."""
        if self._inside >= self._max_inside:
            raise Overloaded(f"{self._inside} explanations are inside, there is no room for another", _RETRY_AFTER_S)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for a turn, and hold it until the end of the scope."""
        return self._turns
