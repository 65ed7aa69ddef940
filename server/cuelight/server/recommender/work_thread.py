"""One thread for work of microseconds: `ThreadPoolExecutor(1)` with its futures of two kinds costs as much as a shelf.

Work is done in the order it came; what it raises goes to the caller. Work whose caller has left before it began is not
done.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["WorkThread"]

Result = TypeVar("Result")

_Entry = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class WorkThread:
    """Starts with the first work. The event loop puts work in; the thread alone takes it out.

    While it is idle, the event loop may do itself, without awaiting anything, what is otherwise for the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given = 0

    @property
    def idle(self) -> bool:
        """Whether all work that was given to it is done and answered."""
        return not self._given

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, called on the thread. Raises: what it raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._given += 1
        self._queue.put((work, loop, answer))
        return await answer

    def close(self) -> None:
        """End the thread once it has done what came before; does not wait for it."""
        self._queue.put(None)

    def _serve(self) -> None:
        while (entry := self._queue.get()) is not None:
            work, loop, answer = entry
            result: Any = None
            error: BaseException | None = None
            try:
                if not answer.done():
                    result = work()
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(self._settle, answer, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                continue

    def _settle(self, answer: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        self._given -= 1
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)
