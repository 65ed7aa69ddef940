"""The threads that decode images: a few of them, a bounded line before them, and counts of what they did.

    run -> (room?) -> a thread decodes, prepares, draws -> the caller's await

Decoding leaves the event loop and, inside Pillow, the interpreter lock. Work whose caller has left before a thread took
it is never done.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from cuelight.server.errors import Overloaded
from cuelight.server.vision.pictures import take_over_pillow

__all__ = ["ImagePool"]

_RETRY_AFTER_S = 0.1

T = TypeVar("T")


class ImagePool:
    """Owns the threads. Owned by the event loop, which alone touches the counts."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="cuelight-images")
        self._max_inside = threads + max_waiting
        self.inside = 0
        """Pieces of work that wait or are done now."""
        self.refused = 0
        """Pieces of work for which there was no room."""
        take_over_pillow()

    async def run(self, work: Callable[[], T]) -> T:
        """Do work on a thread and return its result. Raises: Overloaded when too much waits; what `work` raises."""
        if self.inside >= self._max_inside:
            self.refused += 1
            raise Overloaded(f"{self.inside} images wait to be decoded, the line is full", _RETRY_AFTER_S)
        loop = asyncio.get_running_loop()
        self.inside += 1
        done = self._executor.submit(work)
        done.add_done_callback(lambda future: self._ended(loop, future))
        return await asyncio.wrap_future(done)

    async def stop(self) -> None:
        """Drop what waits and return once the threads have ended."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._executor.shutdown)

    def _ended(self, loop: asyncio.AbstractEventLoop, future: "Future[Any]") -> None:
        """Note the end of a piece of work; on the thread that did it, or the loop's own for one that never began."""
        loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self.inside -= 1
