"""The threads that decode images, the bounded line before them, and whose turn it is.

    line(places) -> (room?) -> run: a piece of work waits behind those of its own call -> a thread -> the caller's await

Calls take turns: a thread that becomes free does the next piece of the call that has waited longest for a turn, so a
call of many large images delays another caller's one by no more than what the threads are at, and one of its own. A
call's places are taken at once, before anything is done for it: it is refused whole, or not at all.

Decoding leaves the event loop and, inside Pillow, the interpreter lock. Work whose caller has left before a thread took
it is never done.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from cuelight.server.errors import Overloaded, ShuttingDown
from cuelight.server.vision.pictures import take_over_pillow

__all__ = ["ImageLine", "ImagePool"]

_RETRY_AFTER_S = 0.1
_AHEAD = 1
"""Pieces handed to the threads beyond those they are at: a thread need not wait for the loop to have its next one."""

_STOPPING = "the server is shutting down"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    work: Callable[[], Any]
    done: "asyncio.Future[Any]"


class ImageLine:
    """The work of one call that waits, oldest first, and the places that its images hold. Owned by the pool."""

    def __init__(self, pool: "ImagePool", places: int) -> None:
        self._pool = pool
        self.places = places
        self.waiting: deque[_Piece] = deque()

    async def run(self, work: Callable[[], T]) -> T:
        """Do work on a thread when it is this call's turn, and return its result. Raises: what `work` raises."""
        return cast("T", await self._pool.queue(self, work))

    def give_back(self) -> None:
        """Give one place back: an image has been decoded, or refused."""
        self.places -= 1
        self._pool.inside -= 1


class ImagePool:
    """Owns the threads. Owned by the event loop, which alone touches lines and counts."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="cuelight-images")
        self._free = threads + _AHEAD
        self._max_inside = threads + max_waiting
        self._turns: deque[ImageLine] = deque()
        """The calls whose work waits, in the order of their turns."""
        self._stopping = False
        self.inside = 0
        """Images that wait or are decoded now."""
        self.refused = 0
        """Images for which there was no room."""
        take_over_pillow()

    @contextmanager
    def line(self, places: int) -> Iterator[ImageLine]:
        """Take places for the images of a call; what is left of them at the end is given back.

        Raises: Overloaded when there are not so many. A call that finds nobody inside is let in however many it needs.
        """
        if self.inside and self.inside + places > self._max_inside:
            self.refused += places
            raise Overloaded(
                f"{self.inside} images wait to be decoded, there is no room for {places} more", _RETRY_AFTER_S
            )
        self.inside += places
        line = ImageLine(self, places)
        try:
            yield line
        finally:
            self.inside -= line.places

    async def queue(self, line: ImageLine, work: Callable[[], Any]) -> Any:
        """Do work when it is the turn of its line; see `ImageLine.run`. Raises: ShuttingDown once the pool stops."""
        if self._stopping:
            raise ShuttingDown(_STOPPING)
        piece = _Piece(work, asyncio.get_running_loop().create_future())
        if not line.waiting:
            self._turns.append(line)
        line.waiting.append(piece)
        self._hand_out()
        return await piece.done

    async def stop(self) -> None:
        """Refuse what waits and return once the threads have ended."""
        self._stopping = True
        for line in self._turns:
            for piece in line.waiting:
                if not piece.done.done():
                    piece.done.set_exception(ShuttingDown(_STOPPING))
        self._turns.clear()
        await asyncio.to_thread(self._executor.shutdown)

    def _hand_out(self) -> None:
        while self._free and self._turns:
            line = self._turns.popleft()
            piece = line.waiting.popleft()
            if line.waiting:
                self._turns.append(line)
            if piece.done.done():
                continue  # its caller has left
            self._begin(piece)

    def _begin(self, piece: _Piece) -> None:
        self._free -= 1
        loop = piece.done.get_loop()
        begun = self._executor.submit(piece.work)
        begun.add_done_callback(lambda ended: loop.call_soon_threadsafe(self._ended, piece, ended))
        # Whoever leaves before a thread took it takes it along.
        piece.done.add_done_callback(lambda _: begun.cancel())

    def _ended(self, piece: _Piece, ended: "Future[Any]") -> None:
        self._free += 1
        if not piece.done.done() and not ended.cancelled():
            if (error := ended.exception()) is not None:
                piece.done.set_exception(error)
            else:
                piece.done.set_result(ended.result())
        self._hand_out()
