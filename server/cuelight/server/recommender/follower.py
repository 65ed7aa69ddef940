"""An update that follows what is learned: all that comes while it is made is the next one.

    outdated   there is something new; any number of times, from anywhere on the event loop
    keep       the one task: makes updates until nothing is new, then waits
    followed   who waits for an update waits here, with all others, until it knows enough

Once `keep` has ended nobody is left waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable

from cuelight.server.errors import ShuttingDown
from cuelight.server.rpc.changes import Changes

__all__ = ["Follower"]


class Follower:
    """The event loop owns it. `update` makes one update and returns whether there was anything to make."""

    def __init__(self, update: Callable[[], Awaitable[bool]]) -> None:
        self._update = update
        self._outdated = asyncio.Event()
        self._made = Changes()
        self._ended = False

    def outdated(self) -> None:
        """Let an update come."""
        self._outdated.set()

    async def keep(self) -> None:
        """Make updates until cancelled."""
        try:
            while True:
                await self._outdated.wait()
                self._outdated.clear()
                while await self._update():
                    self._made.notify()
                self._made.notify()
        finally:
            self._ended = True
            self._made.notify()

    async def followed(self, knows: Callable[[], bool]) -> None:
        """Return once an update knows what is waited for. Raises: ShuttingDown when none comes any more."""
        while True:
            made = self._made.next()
            if knows():
                return
            if self._ended:
                raise ShuttingDown("the server is shutting down")
            await made.wait()
