"""What a voice has found out and its caller has not read yet: bounded, and never two interim results in a row."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from cuelight.server.speech.results import Update

__all__ = ["VoiceOutbox"]

_MAX_WAITING = 64
"""Updates; a caller that reads no more stops its stream from being read, and so from being recognized."""


class VoiceOutbox:
    """See `Outbox`. Owned by one call, on the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Update] = deque()
        self._ended = False
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self.held_s = 0.0
        """How long the caller's not reading has held the voice, in all."""

    async def put(self, update: Update) -> None:
        """Add an update; one that is all interim takes the place of one before it that waits and is so too."""
        if self._waiting and _only_interim(update) and _only_interim(self._waiting[-1]):
            self._waiting[-1] = update
            return
        while len(self._waiting) >= _MAX_WAITING and not self._ended:
            started_s = time.monotonic()
            self._room.clear()
            await self._room.wait()
            self.held_s += time.monotonic() - started_s
        self._waiting.append(update)
        self._filled.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._filled.set()
        self._room.set()

    async def updates(self) -> AsyncIterator[Update]:
        """Yield the updates as they come, until the end."""
        while True:
            while self._waiting:
                update = self._waiting.popleft()
                self._room.set()
                yield update
            if self._ended:
                return
            self._filled.clear()
            await self._filled.wait()


def _only_interim(update: Update) -> bool:
    bare = not update.events and update.state is None and bool(update.results)
    return bare and not any(result.is_final for result in update.results)
