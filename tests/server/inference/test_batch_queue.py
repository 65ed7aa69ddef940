"""The rules of the batch queue, without a loop: who runs next, who waits, who is given up."""

from asyncio import Future
from collections.abc import Iterator
from typing import Any

import pytest

from cuelight.server.inference.batch_queue import BatchingConfig, BatchQueue, QueueEntry, QueuePolicy


class CallerFuture:
    """Stands for the future of a caller: only `done()` is asked of it."""

    def __init__(self, gone: bool = False) -> None:
        self.gone = gone

    def done(self) -> bool:
        return self.gone


@pytest.fixture
def ticks() -> Iterator[int]:
    return iter(range(1, 1000))


def entry(name: str, ticks: Iterator[int], *, rows: int = 1, group: Any = None, **options: Any) -> QueueEntry:
    tick = next(ticks)
    gone = options.pop("gone", False)
    future: Future[Any] = CallerFuture(gone)  # type: ignore[assignment]
    return QueueEntry({name: None}, rows, group, future, arrived_s=float(tick), arrived_ns=tick, **options)  # type: ignore[dict-item]


def names(entries: list[QueueEntry]) -> list[str]:
    return [next(iter(entry.inputs)) for entry in entries]


def test_a_batch_is_the_oldest_entries_that_fit(ticks: Iterator[int]) -> None:
    queue = BatchQueue(BatchingConfig(max_batch_size=4))
    for name, rows in (("a", 2), ("b", 1), ("c", 2), ("d", 1)):
        queue.push(entry(name, ticks, rows=rows))

    first, _ = queue.take(0.0)
    second, _ = queue.take(0.0)

    assert (names(first), names(second), queue.depth) == (["a", "b"], ["c", "d"], 0)


def test_groups_never_mix_and_the_oldest_head_goes_first(ticks: Iterator[int]) -> None:
    queue = BatchQueue(BatchingConfig(max_batch_size=8))
    for name, group in (("a", 10), ("b", 20), ("c", 10), ("d", 20)):
        queue.push(entry(name, ticks, group=group))

    batches = [names(queue.take(0.0)[0]) for _ in range(2)]

    assert batches == [["a", "c"], ["b", "d"]]


def test_an_urgent_level_overtakes(ticks: Iterator[int]) -> None:
    queue = BatchQueue(BatchingConfig(max_batch_size=8, priority_levels=2))
    queue.push(entry("late", ticks, level=2))
    queue.push(entry("urgent", ticks, level=1))

    assert names(queue.take(0.0)[0]) == ["urgent"]


@pytest.mark.parametrize(
    ("options", "given_up"),
    [
        ({"gone": True}, []),
        ({"deadline_s": 5.0}, ["x"]),
        ({"expires_s": 5.0}, ["x"]),
    ],
)
def test_entries_that_nobody_waits_for_are_not_computed(
    ticks: Iterator[int], options: dict[str, Any], given_up: list[str]
) -> None:
    queue = BatchQueue(BatchingConfig(max_batch_size=8))
    queue.push(entry("x", ticks, **options))
    queue.push(entry("y", ticks))

    batch, dropped = queue.take(5.0)

    assert (names(batch), names(dropped), queue.depth) == (["y"], given_up, 0)


def test_a_delayed_entry_runs_behind_all_others(ticks: Iterator[int]) -> None:
    config = BatchingConfig(max_batch_size=1, default_policy=QueuePolicy(timeout_s=1.0, timeout_action="delay"))
    queue = BatchQueue(config)
    queue.push(entry("slow", ticks, expires_s=5.0))
    queue.push(entry("other", ticks))

    order = [names(queue.take(5.0)[0]) for _ in range(2)]

    assert order == [["other"], ["slow"]]


@pytest.mark.parametrize(
    ("waiting", "now_s", "expected"),
    [
        (1, 1.0, 3.0),  # waits for company until its arrival (tick 1) plus the delay
        (1, 3.0, None),  # the delay has passed
        (4, 4.0, None),  # a preferred size is there
    ],
)
def test_a_delay_waits_for_a_preferred_size(
    ticks: Iterator[int], waiting: int, now_s: float, expected: float | None
) -> None:
    queue = BatchQueue(BatchingConfig(max_batch_size=8, preferred_batch_sizes=(4,), max_queue_delay_s=2.0))
    for index in range(waiting):
        queue.push(entry(str(index), ticks))

    assert queue.wait_until(now_s) == expected


def test_without_a_delay_nothing_waits(ticks: Iterator[int]) -> None:
    queue = BatchQueue(BatchingConfig(max_batch_size=8))
    queue.push(entry("a", ticks))

    assert queue.wait_until(0.0) is None


def test_a_batch_is_cut_to_the_largest_preferred_size_that_is_there(ticks: Iterator[int]) -> None:
    queue = BatchQueue(BatchingConfig(max_batch_size=8, preferred_batch_sizes=(2, 4)))
    for index in range(5):
        queue.push(entry(str(index), ticks))

    assert [len(queue.take(0.0)[0]) for _ in range(2)] == [4, 1]


def test_a_level_has_a_bound_of_its_own(ticks: Iterator[int]) -> None:
    config = BatchingConfig(
        max_batch_size=8, priority_levels=2, max_queue_size=3, priority_policies={2: QueuePolicy(max_queue_size=1)}
    )
    queue = BatchQueue(config)
    queue.push(entry("a", ticks, level=2))

    assert (queue.is_full(1), queue.is_full(2)) == (False, True)
    queue.push(entry("b", ticks, level=1))
    queue.push(entry("c", ticks, level=1))
    assert queue.is_full(1)
