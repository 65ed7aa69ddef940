"""A bound on log lines about calls that callers got wrong: one broken client must not drown the log, nor the server.

Within each second the first lines are written and the rest are counted; the next line that is written says how many
were left out, in its field `left_out`. Lines about the server's own failures are never left out.
"""

import logging
import time
from collections.abc import Callable

__all__ = ["CallLineLimit", "LineBudget"]

_LOGGERS = ("cuelight.rpc", "cuelight.access")


class LineBudget:
    """How many lines may still be written in this second."""

    def __init__(self, lines_per_s: int) -> None:
        self._lines_per_s = lines_per_s
        self._second = -1
        self._written = 0
        self._left_out = 0

    def take(self, now_s: float) -> int | None:
        """Return how many lines were left out before this one, or None when this one is left out too."""
        second = int(now_s)
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= self._lines_per_s:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


class CallLineLimit(logging.Filter):
    """Holds lines below WARNING about single calls to the budget; sees every other line through."""

    def __init__(self, lines_per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._budget = LineBudget(lines_per_s)
        self._clock = clock

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written."""
        if record.levelno >= logging.WARNING or record.name not in _LOGGERS:
            return True
        left_out = self._budget.take(self._clock())
        if left_out:
            record.left_out = left_out
        return left_out is not None
