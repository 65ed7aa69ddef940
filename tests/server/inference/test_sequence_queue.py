"""Who steps next: in order within a sequence, the most urgent first among them, and nobody is passed by for ever."""

from asyncio import Future, new_event_loop
from collections.abc import Iterator

import pytest

from cuelight.server.inference.sequence_queue import PATIENCE_S, SequenceQueue, StepEntry
from cuelight.server.inference.sequences import Sequence

LOOP = new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def loop_closed() -> Iterator[None]:
    yield
    LOOP.close()


def sequence(name: str) -> Sequence:
    return Sequence(name, None, None, 0)


def step(arrived_s: float = 0.0, deadline_s: float | None = None, group: str | None = None) -> StepEntry:
    future: Future[object] = LOOP.create_future()
    return StepEntry({}, group, future, arrived_s=arrived_s, deadline_s=deadline_s)


def names(batch: list[tuple[Sequence, StepEntry]]) -> list[object]:
    return [sequence.id for sequence, _ in batch]


def ran(queue: SequenceQueue, batch: list[tuple[Sequence, StepEntry]]) -> None:
    for each, _ in batch:
        each.running = False
        queue.line_up(each)


def taken(queue: SequenceQueue, limit: int = 8, now_s: float = 0.0) -> list[tuple[Sequence, StepEntry]]:
    batch, _, _ = queue.take(limit, now_s)
    for each, _ in batch:
        each.running = True
    return batch


def test_a_sequence_steps_once_a_batch_and_in_order() -> None:
    queue, a, b = SequenceQueue(), sequence("a"), sequence("b")
    steps = [step(), step(), step()]
    for each in steps:
        queue.push(a, each)
    queue.push(b, step())

    first = taken(queue)
    assert names(first) == ["a", "b"]
    assert not taken(queue)
    ran(queue, first)
    second = taken(queue)
    ran(queue, second)
    third = taken(queue)

    assert [batch[0][1] for batch in (first, second, third)] == steps
    assert queue.depth == 0


def test_the_nearest_deadline_goes_first() -> None:
    queue = SequenceQueue()
    queue.push(sequence("late"), step(0.0, deadline_s=0.9))
    queue.push(sequence("soon"), step(0.1, deadline_s=0.2))
    queue.push(sequence("none"), step(0.0))

    assert names(taken(queue, limit=2, now_s=0.15)) == ["soon", "late"]


def test_a_step_without_deadline_is_not_passed_by_for_ever() -> None:
    queue = SequenceQueue()
    queue.push(sequence("patient"), step(0.0))
    for number in range(5):
        queue.push(sequence(f"urgent {number}"), step(PATIENCE_S + 0.01, deadline_s=PATIENCE_S + 0.02))

    assert names(taken(queue, limit=1, now_s=PATIENCE_S)) == ["patient"]


def test_steps_of_other_sizes_wait_for_a_batch_of_their_own() -> None:
    queue = SequenceQueue()
    queue.push(sequence("a"), step(0.0, group="small"))
    queue.push(sequence("b"), step(0.1, group="large"))
    queue.push(sequence("c"), step(0.2, group="small"))

    assert names(taken(queue)) == ["a", "c"]
    assert names(taken(queue)) == ["b"]


def test_a_sequence_whose_sizes_change_changes_line() -> None:
    queue, a = SequenceQueue(), sequence("a")
    withdrawn = step(0.0, group="small")
    queue.push(a, withdrawn)
    queue.push(a, step(0.0, group="large"))
    queue.push(sequence("b"), step(0.1, group="small"))
    withdrawn.future.cancel()

    assert names(taken(queue)) == ["b"]
    assert names(taken(queue)) == ["a"]


def test_what_lost_its_caller_or_its_time_is_never_run() -> None:
    queue, a, b = SequenceQueue(), sequence("a"), sequence("b")
    gone, late, good = step(), step(deadline_s=0.5), step()
    queue.push(a, gone)
    queue.push(a, late)
    queue.push(a, good)
    only = step()
    queue.push(b, only)
    gone.future.cancel()
    only.future.cancel()

    batch, given_up, emptied = queue.take(8, now_s=1.0)

    assert [entry for _, entry in batch] == [good]
    assert given_up == [late]
    assert emptied == [b]
    assert queue.depth == 0


def test_the_limit_is_a_number_of_sequences() -> None:
    queue = SequenceQueue()
    for number in range(5):
        queue.push(sequence(str(number)), step(float(number)))

    assert queue.ready == 5
    assert names(taken(queue, limit=3)) == ["0", "1", "2"]
    assert queue.ready == 2
    assert queue.oldest_s == 3.0
