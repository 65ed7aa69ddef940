"""An update that follows what is learned: all that comes while it is made is the next one.

    outdated   there is something new; any number of times, from anywhere on the event loop
    keep       the one task: makes updates until nothing is new, then waits; after a long one it rests as long as that
               took, unless somebody waits: what comes meanwhile goes into one update, which costs less than two
    followed   who waits for an update waits here, with all others, until it knows enough

Once `keep` has ended nobody is left waiting.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from cuelight.server.errors import ShuttingDown
from cuelight.server.recommender.rest import Rest
from cuelight.server.rpc.changes import Changes

__all__ = ["Follower"]

_REST_TIMES = 1.0
_REST_FROM_S = 0.05
"""A single interaction's update of some thousand items takes less."""


class Follower:
    """The event loop owns it. `update` makes one update and returns whether there was anything to make."""

    def __init__(self, update: Callable[[], Awaitable[bool]], clock: Callable[[], float] = time.monotonic) -> None:
        self._update = update
        self._clock = clock
        self._outdated = asyncio.Event()
        self._made = Changes()
        self._ended = False
        self._waiting = 0
        self._took_s = 0.0
        self._rest = Rest(_REST_TIMES, _REST_FROM_S, lambda: self._waiting > 0)

    def outdated(self) -> None:
        """Let an update come."""
        self._outdated.set()

    async def keep(self) -> None:
        """Make updates until cancelled."""
        try:
            while True:
                await self._outdated.wait()
                self._outdated.clear()
                while await self._updated():
                    self._made.notify()
                self._made.notify()
        finally:
            self._ended = True
            self._made.notify()

    async def followed(self, knows: Callable[[], bool]) -> None:
        """Return once an update knows what is waited for. Raises: ShuttingDown when none comes any more."""
        self._waiting += 1
        self._rest.hurry()
        try:
            while True:
                made = self._made.next()
                if knows():
                    return
                if self._ended:
                    raise ShuttingDown("the server is shutting down")
                await made.wait()
        finally:
            self._waiting -= 1

    async def _updated(self) -> bool:
        await self._rest.after(self._took_s)
        started_s = self._clock()
        made = await self._update()
        self._took_s = self._clock() - started_s
        return made
