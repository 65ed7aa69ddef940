"""Background tasks: none is forgotten, and one that dies is told."""

import asyncio

import pytest

from cuelight.server.rpc.lifecycle import BackgroundTasks


async def started() -> BackgroundTasks:
    tasks = BackgroundTasks()
    await tasks.start()
    return tasks


def test_a_task_that_dies_is_told_with_its_own_error() -> None:
    async def scenario() -> BaseException:
        tasks = await started()

        async def die() -> None:
            raise ValueError("boom")

        tasks.create(die(), "dies")
        return await tasks.failure()

    assert repr(asyncio.run(scenario())) == "ValueError('boom')"


def test_a_task_that_dies_takes_the_others_with_it() -> None:
    async def scenario() -> bool:
        tasks = await started()

        async def die() -> None:
            raise ValueError("boom")

        endless = tasks.create(asyncio.Event().wait(), "endless")  # type: ignore[arg-type]
        tasks.create(die(), "dies")
        await tasks.failure()
        return endless.cancelled()

    assert asyncio.run(scenario())


def test_a_task_that_ends_is_no_failure() -> None:
    async def scenario() -> bool:
        tasks = await started()
        await tasks.create(asyncio.sleep(0), "ends")
        failure = asyncio.ensure_future(tasks.failure())
        await tasks.stop()
        await asyncio.sleep(0)
        failed = failure.done()
        failure.cancel()
        return failed

    assert not asyncio.run(scenario())


def test_stop_cancels_what_runs_and_waits_for_its_last_act() -> None:
    async def scenario() -> list[str]:
        acts: list[str] = []
        running = asyncio.Event()

        async def work() -> None:
            try:
                running.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                acts.append("put away")

        tasks = await started()
        tasks.create(work(), "works")
        await running.wait()
        await tasks.stop()
        return [*acts, "stopped"]

    assert asyncio.run(scenario()) == ["put away", "stopped"]


def test_stop_after_a_failure_returns() -> None:
    async def scenario() -> None:
        tasks = await started()

        async def die() -> None:
            raise ValueError("boom")

        tasks.create(die(), "dies")
        await tasks.failure()
        await tasks.stop()

    asyncio.run(scenario())


def test_stop_without_start_returns() -> None:
    asyncio.run(BackgroundTasks().stop())


def test_failure_needs_a_start() -> None:
    with pytest.raises(AssertionError):
        asyncio.run(BackgroundTasks().failure())
