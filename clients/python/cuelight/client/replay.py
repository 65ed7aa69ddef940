"""What a sequence has sent and must still be able to send again: steps, by number, until a token covers them.

A thread of its own reads the caller's steps, so that a live source (a microphone, a game) that is between two steps
keeps nobody from reconnecting. It stops reading while `max_kept` steps are kept.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

__all__ = ["Reading", "ReplayBuffer"]


class ReplayBuffer:
    """The kept steps. Filled by its own thread, read by the connection that lives at the time."""

    def __init__(self, steps: Iterable[Any], max_kept: int) -> None:
        self._steps = steps
        self._max_kept = max_kept
        self._kept: deque[Any] = deque()
        self._first = 0
        """The number of the first kept step."""
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._fill, name="cuelight-sequence-steps", daemon=True)

    def start(self) -> None:
        """Begin to read the caller's steps."""
        self._thread.start()

    @property
    def count(self) -> int:
        """How many steps were read so far."""
        return self._first + len(self._kept)

    @property
    def complete(self) -> bool:
        """Whether the caller's steps have ended."""
        return self._ended

    def failure(self) -> BaseException | None:
        """Return what the caller's iterable raised."""
        return self._error

    def wake(self) -> None:
        """Let readers look again whether they should go on."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Read no further and let every reader end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def forget(self, until: int) -> None:
        """Drop the steps before number `until`: a token covers them."""
        with self._changed:
            while self._kept and self._first < until:
                self._kept.popleft()
                self._first += 1
            self._changed.notify_all()

    def read(self, start: int, connection: "Reading") -> Iterator[tuple[int, Any]]:
        """Yield the steps from number `start` on, as they come, for as long as the connection wants them."""
        number = start
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._can_go_on, number, connection))
                if self._closed or connection.over or number >= self.count:
                    return
                step = self._kept[number - self._first]
            yield number, step
            number += 1

    def _can_go_on(self, number: int, connection: "Reading") -> bool:
        known = self._closed or self._ended or number < self.count
        return connection.over or (known and connection.may_read(number))

    def _fill(self) -> None:
        try:
            for step in self._steps:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or len(self._kept) < self._max_kept)
                    if self._closed:
                        return
                    self._kept.append(step)
                    self._changed.notify_all()
        except BaseException as error:
            # Whatever the caller's iterable raises is the caller's to see, in the caller's thread.
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


class Reading:
    """One connection's claim on the buffer: it ends with the connection, and it bounds how far ahead is sent."""

    def __init__(self, answered: int, window: int) -> None:
        self.over = False
        self.answered = answered
        self._window = window

    def may_read(self, number: int) -> bool:
        """Whether step `number` may be sent."""
        return number - self.answered < self._window
