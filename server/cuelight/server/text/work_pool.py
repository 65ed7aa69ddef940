"""Threads for what takes longer than a turn of the event loop may: tokens of long texts, products of large tables.

What is short is done at once, for a hop to a thread and back costs 0.2 ms. What takes a few ms has threads of its own,
so that it never waits behind megabytes of another caller. What waits is bounded by its size in bytes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cuelight.server.errors import Overloaded

__all__ = ["WorkPool"]

Result = TypeVar("Result")

_RETRY_AFTER_S = 0.1
_INLINE_BYTES = 1_000
"""Tokens of so much text take 0.5 ms."""
_SHORT_BYTES = 20_000
_MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Seconds of work: who came later would wait too long for an answer to be of use."""
_PRODUCTS_A_BYTE = 1_000
"""Numbers multiplied and summed in the time that the tokens of a byte of text take, by one core."""


class WorkPool:
    """Owned by the event loop; `close` ends its threads."""

    def __init__(
        self,
        threads: int,
        max_waiting_bytes: int = _MAX_WAITING_BYTES,
        inline_bytes: int = _INLINE_BYTES,
        short_bytes: int = _SHORT_BYTES,
    ) -> None:
        """Work on at most `inline_bytes` is done at once. On at most `short_bytes`, and on more, there are so many
        `threads` each, that hold at most `max_waiting_bytes` of work.
        """
        self._short, self._long = _Threads(threads, "cuelight-text-short"), _Threads(threads, "cuelight-text")
        self._max_waiting_bytes = max_waiting_bytes
        self._inline_bytes = inline_bytes
        self._short_bytes = short_bytes
        self.refused = 0
        """Pieces of work for which there was no room."""

    @property
    def waiting_bytes(self) -> int:
        """How much is worked on or waits."""
        return self._short.waiting_bytes + self._long.waiting_bytes

    async def multiply(self, products: int, work: Callable[[], Result]) -> Result:
        """As `run`, for work that multiplies so many pairs of numbers."""
        return await self.run(products // _PRODUCTS_A_BYTE, work)

    async def run(self, size_bytes: int, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, which is about so many bytes large.

        Work that has begun is finished though its caller has left. Raises: Overloaded when too much waits; what `work`
        raises.
        """
        if size_bytes <= self._inline_bytes:
            return work()
        threads = self._short if size_bytes <= self._short_bytes else self._long
        waiting_bytes = threads.waiting_bytes
        if waiting_bytes and waiting_bytes + size_bytes > self._max_waiting_bytes:
            self.refused += 1
            raise Overloaded(f"text: {waiting_bytes} bytes of text wait to be looked at", _RETRY_AFTER_S)
        return await threads.begin(size_bytes, work)

    def close(self) -> None:
        """End the threads once they have done what they have begun; what waits is never begun."""
        self._short.close()
        self._long.close()


class _Threads:
    """Some threads and what waits for them. Owned by the event loop."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self.waiting_bytes = 0

    def begin(self, size_bytes: int, work: Callable[[], Result]) -> asyncio.Future[Result]:
        """Hand work to a thread."""
        self.waiting_bytes += size_bytes
        begun = asyncio.get_running_loop().run_in_executor(self._executor, work)
        begun.add_done_callback(lambda _: self._settled(size_bytes))
        return begun

    def close(self) -> None:
        """See `WorkPool.close`."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _settled(self, size_bytes: int) -> None:
        self.waiting_bytes -= size_bytes
