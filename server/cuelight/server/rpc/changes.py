"""Telling those who wait that something changed, without polling and without naming what."""

import asyncio

__all__ = ["Changes"]


class Changes:
    """A signal that can be given again and again. Owned by the event loop.

    Whoever waits takes `next()` first, then reads the state, then awaits the event: so no change falls in between.
    """

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Return the event that the next `notify` sets."""
        return self._next

    def notify(self) -> None:
        """Wake everyone who holds an event of `next`."""
        self._next.set()
        self._next = asyncio.Event()
