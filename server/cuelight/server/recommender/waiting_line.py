"""Callers that wait together are served together: what comes while one group is served is the next group.

    ask(entry)   joins the line and waits; a full line refuses at once. Where nobody waits and nobody is being served,
                 a line that is `at_once` runs the entry in the caller's own task, which saves two turns of the loop
    serve()      the line's one task: takes all that wait, up to a limit, runs them, hands out the answers

A caller that has left is skipped. A run that fails fails its own group, and the line goes on. `close` answers whoever
still waits, so nobody is left hanging.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from cuelight.server.errors import Overloaded, ShuttingDown

__all__ = ["WaitingLine"]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class WaitingLine(Generic[Asked, Answer]):
    """One line. The event loop owns it; `run` answers each entry of a group, in order, with an answer or an error."""

    def __init__(
        self,
        run: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | Exception]]],
        max_waiting: int,
        max_group: float,
        at_once: bool = False,
        size: Callable[[Asked], float] = lambda _: 1,
    ) -> None:
        """A group is as many as have the `size` of `max_group` together, and one at least. `at_once` is for runs that
        may be cancelled with their caller.
        """
        self._run = run
        self._max_waiting = max_waiting
        self._max_group = max_group
        self._size = size
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._came = asyncio.Event()
        self._closed = False
        self._at_once = at_once
        self._running = 0

    @property
    def waiting(self) -> int:
        """How many wait and are not being served yet."""
        return len(self._waiting)

    async def ask(self, entry: Asked) -> Answer:
        """Wait for the answer to an entry. Raises: Overloaded, ShuttingDown, and what `run` answers with."""
        if self._closed:
            raise ShuttingDown("the server is shutting down")
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded(f"{self._max_waiting} requests wait already")
        if self._at_once and not self._running and not self._waiting:
            return await self._served_alone(entry)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, answer))
        self._came.set()
        return await answer

    async def serve(self) -> None:
        """Serve group after group until cancelled; then nobody is left waiting."""
        try:
            while True:
                await self._came.wait()
                self._came.clear()
                while group := self._next_group():
                    await self._serve_group(group)
        finally:
            self.close()

    def close(self) -> None:
        """Refuse whoever waits or comes."""
        self._closed = True
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(ShuttingDown("the server is shutting down"))
        self._waiting.clear()

    async def _served_alone(self, entry: Asked) -> Answer:
        self._running += 1
        try:
            [result] = await self._run([entry])
        finally:
            self._running -= 1
        if isinstance(result, Exception):
            raise result
        return result

    def _next_group(self) -> list[tuple[Asked, "asyncio.Future[Answer]"]]:
        group: list[tuple[Asked, asyncio.Future[Answer]]] = []
        room = self._max_group
        while self._waiting:
            entry, answer = self._waiting[0]
            if not answer.done():
                room -= self._size(entry)
                if group and room < 0:
                    break
                group.append((entry, answer))
            self._waiting.popleft()
        return group

    async def _serve_group(self, group: Sequence[tuple[Asked, "asyncio.Future[Answer]"]]) -> None:
        self._running += 1
        try:
            results = await self._run([entry for entry, _ in group])
        except Exception as error:  # the batch boundary: a run that failed must not end the line
            results = [error] * len(group)
        except asyncio.CancelledError:
            results = [ShuttingDown("the server is shutting down")] * len(group)
            _hand_out(group, results)
            raise
        finally:
            self._running -= 1
        _hand_out(group, results)


def _hand_out(group: Sequence[tuple[Asked, "asyncio.Future[Answer]"]], results: Sequence[Answer | Exception]) -> None:
    for (_, answer), result in zip(group, results, strict=True):
        if answer.done():
            continue
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)
