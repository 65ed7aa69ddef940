"""Sequences under everything that can happen to them: company, failure, withdrawal, restart, idleness, the end."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.server.errors import DeadlineExceeded, InferenceFailed, Overloaded, SequenceNotActive, ShuttingDown
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from cuelight.server.inference.sequences import Owner
from tests.sequence_models import running_sum, sum_over_table
from tests.server.inference.stateful import pair, run, serving, total

PAST_S = 0.001


def index(number: int) -> dict[str, Any]:
    return {"index": np.array([[number]], np.int64)}


def test_the_offender_of_a_batch_fails_alone_and_its_state_is_untouched(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        first = [sequences.submit(name, index(0), start=True) for name in "abcd"]
        assert [total(await each) for each in first] == [1.0] * 4

        second = [sequences.submit(name, index(9 if name == "b" else 1)) for name in "abcd"]
        results = await asyncio.gather(*second, return_exceptions=True)

        assert isinstance(results[1], InferenceFailed)
        assert [total(result) for result in (results[0], *results[2:]) if not isinstance(result, BaseException)] == [
            11
        ] * 3
        assert total(await sequences.submit("b", index(2))) == 101.0

    run(tmp_path, sum_over_table(), scenario)


def test_a_withdrawn_step_never_happened(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        await sequences.submit("a", pair(1.0), start=True)
        withdrawn = sequences.submit("a", pair(50.0))
        withdrawn.cancel()
        result = await sequences.submit("a", pair(2.0))

        assert total(result) == 3.0
        assert result.steps == 2

    run(tmp_path, running_sum(), scenario)


def test_a_step_that_is_too_late_never_happened(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        await sequences.submit("a", pair(1.0), start=True)
        with pytest.raises(DeadlineExceeded):
            await sequences.submit("a", pair(50.0), deadline_s=PAST_S)

        assert total(await sequences.submit("a", pair(2.0))) == 3.0

    run(tmp_path, running_sum(), scenario)


def test_a_last_step_that_is_withdrawn_still_ends_the_sequence(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        await sequences.submit("a", pair(), start=True)
        sequences.submit("a", pair(), end=True).cancel()
        with pytest.raises(SequenceNotActive):
            sequences.submit("a", pair())
        await sequences.submit("b", pair(), start=True, end=True)

        assert sequences.slots_used == 0

    run(tmp_path, running_sum(), scenario)


def test_a_first_step_that_is_withdrawn_leaves_a_sequence_that_starts_with_the_next(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        sequences.submit("a", pair(50.0), start=True).cancel()

        assert total(await sequences.submit("a", pair(2.0))) == 2.0

    run(tmp_path, running_sum(), scenario)


def test_a_step_without_a_start_is_refused(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        with pytest.raises(SequenceNotActive, match="send sequence_start with its first step"):
            sequences.submit("a", pair())

    run(tmp_path, running_sum(), scenario)


def test_a_second_start_starts_over(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        futures = [
            sequences.submit("a", pair(1.0), start=True),
            sequences.submit("a", pair(2.0)),
            sequences.submit("a", pair(10.0), start=True),
            sequences.submit("a", pair(20.0)),
        ]

        assert [total(await future) for future in futures] == [1.0, 3.0, 10.0, 30.0]
        assert sequences.live == 1
        assert sequences.slots_used == 1

    run(tmp_path, running_sum(), scenario)


def test_an_id_may_be_used_again_while_the_last_steps_of_the_old_one_wait(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        futures = []
        for base in (1.0, 10.0, 100.0):
            futures += [
                sequences.submit("a", pair(base), start=True),
                sequences.submit("a", pair(base)),
                sequences.submit("a", pair(base), end=True),
            ]

        assert [total(await future) for future in futures] == [1, 2, 3, 10, 20, 30, 100, 200, 300]

    run(tmp_path, running_sum(), scenario)


def test_an_end_sent_twice_is_refused_the_second_time(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        last = sequences.submit("a", pair(), start=True, end=True)
        with pytest.raises(SequenceNotActive):
            sequences.submit("a", pair(), end=True)

        assert total(await last) == 1.0

    run(tmp_path, running_sum(), scenario)


def test_starts_without_end_are_bounded_and_no_one_waits(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        started = [sequences.submit(number, pair(), start=True) for number in range(1, 6)]
        with pytest.raises(Overloaded, match="5 sequences are alive, which is as many as it holds") as refused:
            sequences.submit(6, pair(), start=True)
        assert refused.value.retry_after_s
        for future in started:
            assert total(await future) == 1.0
        await sequences.submit(3, pair(), end=True)

        assert total(await sequences.submit(6, pair(), start=True)) == 1.0

    run(tmp_path, running_sum(), scenario, max_sequences=5)


def test_an_idle_sequence_ends_and_one_that_steps_does_not(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        await sequences.submit("idle", pair(), start=True)
        await sequences.submit("busy", pair(), start=True)
        steps = 0
        while sequences.holds("idle"):
            steps += 1
            assert total(await sequences.submit("busy", pair())) == steps + 1

        assert sequences.counts.expired == 1
        assert sequences.holds("busy")
        assert sequences.slots_used == 1

    run(tmp_path, running_sum(), scenario, max_idle_s=0.3)


def test_a_stream_that_is_over_frees_what_it_began_once(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        stream = Owner()
        await sequences.submit("done", pair(), start=True, owner=stream)
        running = sequences.submit("runs", pair(), start=True, owner=stream)
        waiting = sequences.submit("runs", pair(), owner=stream)
        await sequences.submit("other", pair(), start=True)
        for sequence in list(stream.sequences):
            sequences.release(sequence)
        waiting.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sequences.submit("other", pair())

        assert sequences.live == 1
        assert sequences.slots_used == 1
        assert not stream.sequences

    run(tmp_path, running_sum(), scenario)


def test_an_exported_state_goes_on_under_another_id(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        sequences.submit("a", pair(1.0), start=True)
        sequences.submit("a", pair(2.0))
        exported = sequences.export("a")
        after = sequences.submit("a", pair(4.0))
        state = (await exported).state
        assert state is not None
        assert (state.steps, state.rows[0].tolist()) == (2, [3.0, 3.0])
        assert total(await after) == 7.0

        await sequences.restore("b", state)
        result = await sequences.submit("b", pair(10.0))
        assert (total(result), result.steps) == (13.0, 3)
        taken = await sequences.submit("c", pair(20.0), state=state, wants_state=True)
        assert (total(taken), taken.steps) == (23.0, 3)
        assert taken.state is not None
        assert taken.state.rows[0].tolist() == [23.0, 23.0]
        assert total(await sequences.submit("a", pair(0.0))) == 7.0

    run(tmp_path, running_sum(), scenario)


def test_a_sequence_that_has_not_stepped_is_exported_as_it_begins(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        sequences.submit("a", pair(9.0), start=True).cancel()
        state = (await sequences.export("a")).state
        assert state is not None
        assert (state.steps, state.rows[0].tolist()) == (0, [0.0, 0.0])

    run(tmp_path, running_sum(), scenario)


def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        sequences._max_queue_size = 3
        futures = [sequences.submit("a", pair(), start=not number) for number in range(3)]
        with pytest.raises(Overloaded, match="3 steps wait, its queue is full"):
            sequences.submit("a", pair())
        assert [total(await future) for future in futures] == [1.0, 2.0, 3.0]

    run(tmp_path, running_sum(), scenario)


def test_a_batch_waits_for_company_where_the_model_says_so(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        for future in [sequences.submit(name, pair(), start=True) for name in "abcd"]:
            await future
        before = sequences._statistics.execution_count
        futures = []
        for name in "abcd":
            futures.append(sequences.submit(name, pair()))
            await asyncio.sleep(0.01)
        for future in futures:
            assert total(await future) == 2.0

        assert sequences._statistics.execution_count - before == 1

    text = "sequence_batching { oldest { max_queue_delay_microseconds: 50000000 } }"
    run(tmp_path, running_sum(), scenario, text)


class _Meeting:
    """A front whose batches wait for each other, so that they pass only if two run at once."""

    input = "x"

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2, timeout=20)

    def fill(self, rows: Sequence[NDArray[Any]], target: NDArray[Any]) -> None:
        self._barrier.wait()
        target[...] = np.concatenate(rows)[:, :2]

    def added(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"doubled": 2 * outputs["total"]}


@pytest.mark.parametrize("second", [4, 1], ids=["what waits fills a batch", "what waits has waited long enough"])
def test_batches_run_beside_each_other(tmp_path: Path, second: int) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        engine = sequences._lanes[0].engine
        assert engine.runs == 2
        engine.inline_rows = 0
        engine.front = _Meeting()
        wide = {"x": np.full((1, 3), 5.0, np.float32)}
        futures = [sequences.submit(f"{name}", wide, start=True, group="wide") for name in range(4 + second)]
        for result in await asyncio.gather(*futures):
            assert total(result) == 5.0
            assert result.outputs["doubled"].tolist() == [[10.0, 10.0]]
        futures = [sequences.submit(f"{name}", wide, group="wide") for name in range(4 + second)]
        for result in await asyncio.gather(*futures):
            assert total(result) == 10.0

    run(tmp_path, running_sum(), scenario, "max_batch_size: 4", cores=2)


def test_company_that_is_complete_waits_no_longer(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        await asyncio.gather(*(sequences.submit(name, pair(), start=True) for name in "abc"))
        futures = []
        for name in "ab":
            futures.append(sequences.submit(name, pair()))
            await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.gather(*futures), 20)

    text = "sequence_batching { oldest { max_queue_delay_microseconds: 50000000 preferred_batch_size: [ 2 ] } }"
    run(tmp_path, running_sum(), scenario, text)


def test_company_that_can_only_come_to_another_lane_is_not_waited_for(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        first = [sequences.submit(name, pair(), start=True) for name in "ab"]
        await asyncio.wait_for(asyncio.gather(*first), 20)

    text = """instance_group { count: 2 kind: KIND_CPU }
      sequence_batching { oldest { max_queue_delay_microseconds: 50000000 } }"""
    run(tmp_path, running_sum(), scenario, text, cores=2)


def test_stopping_waits_for_no_company(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, running_sum(), text) as version:
            assert version.sequences is not None
            await asyncio.gather(*(version.sequences.submit(name, pair(), start=True) for name in "ab"))
            waiting = version.sequences.submit("a", pair())
            await asyncio.sleep(0.01)
            await asyncio.wait_for(version.sequences.stop(), 20)

            assert total(await waiting) == 2.0

    text = "sequence_batching { oldest { max_queue_delay_microseconds: 50000000 } }"
    asyncio.run(main())


def test_company_that_has_left_is_not_waited_for(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        stream = Owner()
        starts = [sequences.submit("a", pair(), start=True), sequences.submit("b", pair(), start=True, owner=stream)]
        await asyncio.gather(*starts)
        step = sequences.submit("a", pair())
        await asyncio.sleep(0.01)
        for sequence in list(stream.sequences):
            sequences.release(sequence)
        await asyncio.wait_for(step, 20)

    text = "sequence_batching { oldest { max_queue_delay_microseconds: 50000000 } }"
    run(tmp_path, running_sum(), scenario, text)


def test_a_version_that_is_retired_keeps_its_sequences_and_begins_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, running_sum()) as version:
            sequences = version.sequences
            assert sequences is not None
            await sequences.submit("a", pair(1.0), start=True)
            gone = asyncio.create_task(sequences.outlive())
            await asyncio.sleep(0)
            with pytest.raises(ShuttingDown):
                sequences.submit("b", pair(), start=True)
            assert total(await sequences.submit("a", pair(2.0))) == 3.0
            assert not gone.done()
            assert total(await sequences.submit("a", pair(3.0), end=True)) == 6.0
            await gone

    asyncio.run(main())


def test_stopping_answers_what_was_accepted(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, running_sum()) as version:
            assert version.sequences is not None
            futures = [version.sequences.submit("a", pair(), start=not number) for number in range(5)]
            await version.sequences.stop()

            assert [total(future.result()) for future in futures] == [1, 2, 3, 4, 5]
            with pytest.raises(ShuttingDown):
                version.sequences.submit("a", pair(), start=True)

    asyncio.run(main())
