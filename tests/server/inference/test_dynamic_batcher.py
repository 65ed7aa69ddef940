"""The dynamic batcher over a fake engine: who shares a batch, and that nobody is harmed or forgotten."""

import asyncio
import time

import numpy as np
import pytest

from cuelight.server.errors import DeadlineExceeded, InferenceFailed, Overloaded, ShuttingDown
from cuelight.server.inference.batch_queue import BatchingConfig
from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.dynamic_batcher import DynamicBatcher
from cuelight.server.inference.engine_pool import EnginePlan
from cuelight.server.inference.signature import ModelSignature, Padding, TensorSpec
from cuelight.server.inference.statistics import VersionStatistics
from tests.fakes import FakeEngine, row

FP32 = DATATYPES["FP32"]


def batcher_over(
    engine: FakeEngine,
    size: int = 1,
    buckets: tuple[int, ...] = (),
    plan: EnginePlan[FakeEngine] | None = None,
    **options: object,
) -> DynamicBatcher:
    padding = (Padding("x", 1, outputs=(("y", 1),), buckets=buckets),) if size == -1 else ()
    signature = ModelSignature(
        {"x": TensorSpec("x", FP32, (-1, size))}, {"y": TensorSpec("y", FP32, (-1, size))}, 8, padding
    )
    config = BatchingConfig(**{"max_batch_size": 8, **options})  # type: ignore[arg-type]
    return DynamicBatcher("doubler", signature, config, plan or EnginePlan((engine,)), VersionStatistics())


async def held(engine: FakeEngine, batcher: DynamicBatcher) -> "asyncio.Future[object]":
    """Keep the engine busy with a request of value 0, so that what follows has to wait."""
    engine.hold()
    future = batcher.submit(row(0.0), 1)
    await asyncio.to_thread(engine.entered.wait, 10)
    return future  # type: ignore[return-value]


def test_requests_of_one_turn_share_a_batch_and_each_gets_its_own_answer() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine)

        answers = await asyncio.gather(*(batcher.submit(row(float(value)), 1) for value in range(5)))

        assert [answer["y"].tolist() for answer in answers] == [[[2.0 * value]] for value in range(5)]
        assert engine.rows() == [5]

    asyncio.run(scenario())


def test_while_the_engine_runs_the_queue_fills_up_to_the_largest_batch() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine)
        first = await held(engine, batcher)

        later = [batcher.submit(row(float(value)), 1) for value in range(11)]
        engine.let_go()
        await asyncio.gather(first, *later)

        assert engine.rows() == [1, 8, 3]

    asyncio.run(scenario())


def test_a_cancelled_caller_harms_nobody_else_and_costs_no_compute() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine)
        first = await held(engine, batcher)
        stays, leaves = batcher.submit(row(1.0), 1), batcher.submit(row(2.0), 1)

        leaves.cancel()
        engine.let_go()

        assert (await stays)["y"].item() == 2.0
        await first
        assert engine.rows() == [1, 1]
        assert batcher.depth == 0

    asyncio.run(scenario())


def test_a_request_that_breaks_its_batch_fails_alone() -> None:
    async def scenario() -> None:
        engine = FakeEngine(fail_on=lambda feeds: bool((feeds["x"] == 13).any()))
        batcher = batcher_over(engine)

        results = await asyncio.gather(
            *(batcher.submit(row(value), 1) for value in (1.0, 13.0, 3.0)), return_exceptions=True
        )

        assert results[0]["y"].item() == 2.0  # type: ignore[index]
        assert isinstance(results[1], InferenceFailed)
        assert results[2]["y"].item() == 6.0  # type: ignore[index]
        assert (await batcher.submit(row(4.0), 1))["y"].item() == 8.0

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_with_a_hint() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine, max_queue_size=2)
        first = await held(engine, batcher)
        waiting = [batcher.submit(row(1.0), 1), batcher.submit(row(2.0), 1)]

        with pytest.raises(Overloaded, match="2 requests wait") as refused:
            batcher.submit(row(3.0), 1)

        assert refused.value.retry_after_s is not None
        engine.let_go()
        await asyncio.gather(first, *waiting)

    asyncio.run(scenario())


def test_a_deadline_that_passed_in_the_queue_spends_no_compute() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine)
        first = await held(engine, batcher)
        late = batcher.submit(row(1.0), 1, deadline_s=time.monotonic() - 1.0)

        engine.let_go()

        with pytest.raises(DeadlineExceeded):
            await late
        await first
        assert engine.rows() == [1]

    asyncio.run(scenario())


def test_stopping_answers_what_was_accepted_and_refuses_the_rest() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine)
        first = await held(engine, batcher)
        waiting = batcher.submit(row(1.0), 1)
        stopping = asyncio.ensure_future(batcher.stop())
        await asyncio.sleep(0)

        with pytest.raises(ShuttingDown):
            batcher.submit(row(2.0), 1)
        engine.let_go()
        await stopping

        assert first.done()
        assert (await waiting)["y"].item() == 2.0

    asyncio.run(scenario())


def test_lengths_share_a_batch_where_the_model_declares_padding() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine, size=-1)

        short, long = await asyncio.gather(batcher.submit(row(1.0, 2), 1), batcher.submit(row(2.0, 5), 1))

        np.testing.assert_array_equal(engine.batches[0]["x"], [[1, 1, 0, 0, 0], [2, 2, 2, 2, 2]])
        np.testing.assert_array_equal(short["y"], [[2, 2]])
        np.testing.assert_array_equal(long["y"], [[4, 4, 4, 4, 4]])

    asyncio.run(scenario())


def test_lengths_of_another_bucket_run_in_another_batch() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        batcher = batcher_over(engine, size=-1, buckets=(2, 5))
        sizes = [2, 5, 1, 3, 9, 6]

        answers = await asyncio.gather(*(batcher.submit(row(1.0, size), 1) for size in sizes))

        assert sorted(batch["x"].shape for batch in engine.batches) == [(2, 2), (2, 5), (2, 9)]
        assert [answer["y"].tolist() for answer in answers] == [[[2.0] * size] for size in sizes]

    asyncio.run(scenario())


def test_figures_count_rows_runs_and_requests() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        statistics = VersionStatistics()
        signature = ModelSignature({"x": TensorSpec("x", FP32, (-1, 1))}, {"y": TensorSpec("y", FP32, (-1, 1))}, 8)
        batcher = DynamicBatcher("doubler", signature, BatchingConfig(8), EnginePlan((engine,)), statistics)

        await asyncio.gather(batcher.submit({"x": np.zeros((3, 1), np.float32)}, 3), batcher.submit(row(1.0), 1))

        assert (statistics.inference_count, statistics.execution_count, statistics.queue.count) == (4, 1, 2)
        assert list(statistics.batches) == [4]

    asyncio.run(scenario())


def test_two_engines_share_what_waits_and_each_has_its_next_batch_before_it_ends_one() -> None:
    async def scenario() -> None:
        engines = (FakeEngine(), FakeEngine())
        plan = EnginePlan(engines, paying_rows=2)
        batcher = batcher_over(engines[0], plan=plan)
        for engine in engines:
            engine.hold()

        answers = [batcher.submit(row(float(value)), 1) for value in range(10)]
        await asyncio.gather(*(asyncio.to_thread(engine.entered.wait, 10) for engine in engines))
        assert batcher.running == 4
        assert batcher.depth == 2
        for engine in engines:
            engine.let_go()

        assert [answer["y"].tolist() for answer in await asyncio.gather(*answers)] == [
            [[2.0 * value]] for value in range(10)
        ]
        assert sorted(engines[0].rows() + engines[1].rows()) == [2] * 5
        assert batcher.running == 0

    asyncio.run(scenario())


def test_a_batcher_that_stops_answers_what_engines_have_before_them() -> None:
    async def scenario() -> None:
        engines = (FakeEngine(), FakeEngine())
        batcher = batcher_over(engines[0], plan=EnginePlan(engines, paying_rows=2))
        for engine in engines:
            engine.hold()
        answers = [batcher.submit(row(float(value)), 1) for value in range(9)]
        await asyncio.to_thread(engines[0].entered.wait, 10)

        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        for engine in engines:
            engine.let_go()
        await stopping

        assert all(answer.done() for answer in answers)
        assert [answer.result()["y"].tolist() for answer in answers] == [[[2.0 * value]] for value in range(9)]

    asyncio.run(scenario())
