"""Changes that must not overlap: their order, their failures, and their end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cuelight.server.errors import InvalidRequest, Overloaded, ShuttingDown
from cuelight.server.inference.change_queue import ChangeQueue


def run(scenario: Callable[[ChangeQueue, "asyncio.Task[None]"], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        queue = ChangeQueue("the tables", lambda: None)
        task = asyncio.create_task(queue.work())
        await scenario(queue, task)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(main(), 10))


def test_changes_run_one_at_a_time_in_order() -> None:
    events: list[str] = []

    async def scenario(queue: ChangeQueue, task: "asyncio.Task[None]") -> None:
        async def change(name: str) -> None:
            events.append(f"{name} begins")
            await asyncio.sleep(0)
            events.append(f"{name} ends")

        await asyncio.gather(queue.run(lambda: change("a")), queue.run(lambda: change("b")))

    run(scenario)

    assert events == ["a begins", "a ends", "b begins", "b ends"]


def test_a_change_that_fails_fails_its_caller_alone() -> None:
    async def scenario(queue: ChangeQueue, task: "asyncio.Task[None]") -> None:
        async def fails() -> None:
            raise InvalidRequest("no")

        async def works() -> None:
            pass

        failed, worked = await asyncio.gather(queue.run(fails), queue.run(works), return_exceptions=True)
        assert isinstance(failed, InvalidRequest)
        assert worked is None
        assert not task.done()

    run(scenario)


def test_an_unexpected_error_ends_the_task_loudly() -> None:
    async def scenario(queue: ChangeQueue, task: "asyncio.Task[None]") -> None:
        async def breaks() -> None:
            raise ZeroDivisionError

        waiting = asyncio.ensure_future(queue.run(breaks))
        await asyncio.wait([task])
        assert isinstance(task.exception(), ZeroDivisionError)
        with pytest.raises(ShuttingDown):
            await waiting

    run(scenario)


def test_a_change_whose_caller_has_left_is_skipped_before_its_turn_and_finished_after() -> None:
    done: list[str] = []

    async def scenario(queue: ChangeQueue, task: "asyncio.Task[None]") -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            begun.set()
            await go_on.wait()
            done.append("slow")

        async def skipped() -> None:
            done.append("skipped")

        async def last() -> None:
            done.append("last")

        first, second = asyncio.ensure_future(queue.run(slow)), asyncio.ensure_future(queue.run(skipped))
        await begun.wait()
        first.cancel()
        second.cancel()
        go_on.set()
        await queue.run(last)

    run(scenario)

    assert done == ["slow", "last"]


def test_a_full_queue_refuses_and_a_closed_one_fails_those_who_wait() -> None:
    async def scenario(queue: ChangeQueue, task: "asyncio.Task[None]") -> None:
        async def change() -> None:
            raise AssertionError("it never has its turn")

        task.cancel()
        await asyncio.wait([task])
        waiting = [asyncio.ensure_future(queue.run(change)) for _ in range(64)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="64 changes to the tables wait already"):
            await queue.run(change)
        queue.close()
        for caller in (*waiting, asyncio.ensure_future(queue.run(change))):
            with pytest.raises(ShuttingDown, match="the tables"):
                await caller

    run(scenario)
