"""A pause after long work in the background, so that what comes all the time does not keep a core busy all the time."""

import asyncio
from collections.abc import Callable

__all__ = ["Rest"]


class Rest:
    """As long as the work took, `times` over; none after work shorter than `from_s`. The event loop owns it."""

    def __init__(self, times: float, from_s: float, in_a_hurry: Callable[[], bool]) -> None:
        """`in_a_hurry` says whether somebody waits for the next work: then there is no pause."""
        self._times = times
        self._from_s = from_s
        self._in_a_hurry = in_a_hurry
        self._came = asyncio.Event()

    def hurry(self) -> None:
        """Ask whether somebody is in a hurry now."""
        self._came.set()

    async def after(self, took_s: float) -> None:
        """Return when it is time for the next work."""
        if took_s < self._from_s:
            return
        try:
            async with asyncio.timeout(self._times * took_s):
                while not self._in_a_hurry():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return
