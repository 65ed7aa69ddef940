"""Which requests wait, which run next and which are given up: the rules of batching, without clock, thread or task.

A queue has priority levels (1 is the most urgent) and within a level one line for every *group*: entries whose tensors
can share a batch. A batch is taken from the group whose head has waited longest in the most urgent level that is not
empty. Entries whose caller is gone (`future.done()`), whose deadline or queue time-out has passed are never computed.
"""

from asyncio import Future
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

__all__ = ["BatchQueue", "BatchingConfig", "QueueEntry", "QueuePolicy"]

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How long and how many may wait in one priority level.

    `max_queue_size` 0 leaves the bound to the server's own limit; `timeout_s` 0 means no time-out. An entry that timed
    out is answered with an error ("reject") or waits on behind all others ("delay").
    """

    max_queue_size: int = 0
    timeout_s: float = 0.0
    timeout_action: Literal["reject", "delay"] = "reject"
    allow_timeout_override: bool = False


@dataclass(frozen=True, slots=True)
class BatchingConfig:
    """How one model batches.

    With `max_queue_delay_s` 0 a batch is whatever waits when an engine becomes free. With a delay, an engine waits
    until a preferred size (or `max_batch_size`) is there or the oldest entry has waited that long.
    """

    max_batch_size: int
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_s: float = 0.0
    priority_levels: int = 1
    default_priority_level: int = 1
    default_policy: QueuePolicy = QueuePolicy()
    priority_policies: dict[int, QueuePolicy] = field(default_factory=dict)
    max_queue_size: int = 4096

    def policy(self, level: int) -> QueuePolicy:
        """Return the policy of a priority level, 1 being the most urgent."""
        return self.priority_policies.get(level, self.default_policy)


class QueueEntry:
    """One request that waits: its tensors, what it may share a batch with, and the future its caller awaits.

    Times are seconds of `time.monotonic()`; `arrived_ns` is of `time.perf_counter_ns()`.
    """

    __slots__ = ("arrived_ns", "arrived_s", "deadline_s", "expires_s", "future", "group", "inputs", "level", "rows")

    def __init__(
        self,
        inputs: Arrays,
        rows: int,
        group: Hashable,
        future: "Future[Any]",
        *,
        arrived_s: float,
        arrived_ns: int,
        deadline_s: float | None = None,
        expires_s: float | None = None,
        level: int = 1,
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.group = group
        self.future = future
        self.arrived_s = arrived_s
        self.arrived_ns = arrived_ns
        self.deadline_s = deadline_s
        self.expires_s = expires_s
        self.level = level


class BatchQueue:
    """The entries that wait for an engine. Owned by the batcher."""

    def __init__(self, config: BatchingConfig) -> None:
        self._config = config
        self._levels: list[dict[Hashable, deque[QueueEntry]]] = [{} for _ in range(config.priority_levels + 1)]
        self._level_depths = [0] * (config.priority_levels + 1)
        self.depth = 0

    def is_full(self, level: int) -> bool:
        """Whether another entry of this priority level must be refused."""
        bound = self._config.policy(level).max_queue_size
        return self.depth >= self._config.max_queue_size or 0 < bound <= self._level_depths[level - 1]

    def push(self, entry: QueueEntry) -> None:
        """Put an entry at the end of its group's line."""
        self._append(entry, entry.level - 1)

    def take(
        self, now_s: float, most_requests: int | None = None, most_rows: int | None = None
    ) -> tuple[list[QueueEntry], list[QueueEntry]]:
        """Remove the next batch and return it with the entries that were given up on the way.

        The batch holds at most `max_batch_size` rows, of one group, and no more than is asked for, where it is, unless
        its first request alone has more rows; it is empty when nothing waits. Entries given up are those that timed out
        or missed their deadline; entries whose caller is gone vanish silently.
        """
        given_up: list[QueueEntry] = []
        while self.depth:
            level, group, line = self._next_line()
            batch = self._take_from(line, level, now_s, given_up, most_requests, most_rows)
            if not line:
                del self._levels[level][group]
            if batch:
                return batch, given_up
        return [], given_up

    def wait_until(self, now_s: float) -> float | None:
        """Return until when the next batch should wait for company, or None when it should run now."""
        delay_s = self._config.max_queue_delay_s
        if not delay_s or not self.depth:
            return None
        _, _, line = self._next_line()
        rows = sum(entry.rows for entry in line)
        if rows >= min((*self._config.preferred_batch_sizes, self._config.max_batch_size)):
            return None
        run_at = line[0].arrived_s + delay_s
        return run_at if run_at > now_s else None

    def _append(self, entry: QueueEntry, level: int) -> None:
        self._levels[level].setdefault(entry.group, deque()).append(entry)
        self._level_depths[level] += 1
        self.depth += 1

    def _next_line(self) -> tuple[int, Hashable, deque[QueueEntry]]:
        for level, lines in enumerate(self._levels):
            if lines:
                if len(lines) == 1:
                    group, line = next(iter(lines.items()))
                else:
                    group, line = min(lines.items(), key=lambda item: item[1][0].arrived_ns)
                return level, group, line
        raise AssertionError("the queue is empty")

    def _take_from(
        self,
        line: deque[QueueEntry],
        level: int,
        now_s: float,
        given_up: list[QueueEntry],
        most_requests: int | None,
        most_rows: int | None,
    ) -> list[QueueEntry]:
        batch: list[QueueEntry] = []
        rows = 0
        limit = self._row_limit(line)
        if most_rows is not None:
            limit = min(limit, most_rows)
        while line and (not batch or (rows + line[0].rows <= limit and len(batch) != most_requests)):
            entry = line.popleft()
            self._level_depths[level] -= 1
            self.depth -= 1
            if entry.future.done():
                continue
            if entry.deadline_s is not None and entry.deadline_s <= now_s:
                given_up.append(entry)
            elif entry.expires_s is not None and entry.expires_s <= now_s:
                self._expire(entry, given_up)
            else:
                batch.append(entry)
                rows += entry.rows
        return batch

    def _row_limit(self, line: deque[QueueEntry]) -> int:
        if not self._config.preferred_batch_sizes:
            return self._config.max_batch_size
        waiting = sum(entry.rows for entry in line)
        fitting = [size for size in self._config.preferred_batch_sizes if size <= waiting]
        return max(fitting, default=self._config.max_batch_size)

    def _expire(self, entry: QueueEntry, given_up: list[QueueEntry]) -> None:
        if self._config.policy(entry.level).timeout_action == "delay":
            entry.expires_s = None
            self._append(entry, len(self._levels) - 1)
        else:
            given_up.append(entry)
