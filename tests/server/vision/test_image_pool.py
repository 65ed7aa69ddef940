"""The threads that decode: a bounded line before them, turns among calls, and nothing done for whom has left."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from PIL import Image

from cuelight.server.errors import InvalidRequest, Overloaded, ShuttingDown
from cuelight.server.vision.image_pool import ImageLine, ImagePool


@pytest.fixture(autouse=True)
def limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the process Pillow's own limit back, which a pool takes over."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def run(scenario: Callable[[ImagePool], Coroutine[Any, Any, None]], threads: int = 1, max_waiting: int = 2) -> None:
    async def whole() -> None:
        pool = ImagePool(threads, max_waiting)
        try:
            await scenario(pool)
        finally:
            await pool.stop()
        await asyncio.sleep(0)
        assert pool.inside == 0

    asyncio.run(asyncio.wait_for(whole(), 30))


class Held:
    """Work that a thread is held in until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._gate = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self._gate.wait(10), "the test never let it go"
        return "held"

    def let_go(self) -> None:
        self._gate.set()


async def started(line: ImageLine, work: Callable[[], Any]) -> "asyncio.Task[Any]":
    task = asyncio.ensure_future(line.run(work))
    await asyncio.sleep(0)
    return task


def test_what_work_returns_and_raises_reaches_its_caller() -> None:
    async def scenario(pool: ImagePool) -> None:
        def refuse() -> None:
            raise InvalidRequest("no image")

        with pool.line(1) as line:
            assert await line.run(lambda: 7) == 7
            with pytest.raises(InvalidRequest, match="no image"):
                await line.run(refuse)

    run(scenario)


def test_a_call_has_room_for_all_of_its_images_or_is_refused_at_once() -> None:
    async def scenario(pool: ImagePool) -> None:
        with pool.line(2) as first, pool.line(1):
            with pytest.raises(Overloaded, match="3 images wait to be decoded, there is no room for 1 more") as caught:
                pool.line(1).__enter__()
            assert caught.value.retry_after_s
            assert (pool.inside, pool.refused) == (3, 1)
            first.give_back()
            with pool.line(1):
                assert pool.inside == 3

    run(scenario)


def test_a_call_of_more_than_may_wait_is_let_in_where_it_is_alone() -> None:
    async def scenario(pool: ImagePool) -> None:
        with pool.line(50) as line:
            assert await asyncio.gather(*(line.run(partial(int, number)) for number in range(50))) == [*range(50)]
            assert pool.inside == 50

    run(scenario)


def test_calls_take_turns_however_many_images_each_has() -> None:
    async def scenario(pool: ImagePool) -> None:
        done: list[str] = []
        held = Held()
        with pool.line(9) as many, pool.line(2) as few, pool.line(1) as one:
            tasks = [await started(many, held)]
            tasks += [await started(many, partial(done.append, f"many {number}")) for number in range(8)]
            tasks += [await started(few, partial(done.append, f"few {number}")) for number in range(2)]
            tasks += [await started(one, partial(done.append, "one"))]
            held.let_go()
            await asyncio.gather(*tasks)

        # The first of the many is with the thread already, as what it does next.
        assert done[:6] == ["many 0", "many 1", "few 0", "one", "many 2", "few 1"]
        assert done[6:] == [f"many {number}" for number in range(3, 8)]

    run(scenario, max_waiting=20)


def test_what_nobody_waits_for_any_more_is_never_done() -> None:
    async def scenario(pool: ImagePool) -> None:
        done: list[int] = []
        held = Held()
        with pool.line(4) as line:
            first = await started(line, held)
            leaving = [await started(line, partial(done.append, 1)) for _ in range(2)]
            stays = await started(line, partial(done.append, 2))

            for left in leaving:  # one is with the thread, as what it does next; the other waits for its turn
                left.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await left
            held.let_go()
            await asyncio.gather(first, stays)

        assert done == [2]

    run(scenario, max_waiting=20)


def test_whoever_leaves_while_a_thread_works_for_him_takes_no_thread_for_good() -> None:
    async def scenario(pool: ImagePool) -> None:
        with pool.line(1) as line:
            held = Held()
            left = await started(line, held)
            await asyncio.to_thread(held.entered.wait)
            left.cancel()
            held.let_go()

            for number in range(5):
                assert await line.run(partial(int, number)) == number

    run(scenario)


def test_a_pool_that_stops_refuses_what_waits() -> None:
    async def scenario(pool: ImagePool) -> None:
        held = Held()
        with pool.line(3) as line:
            tasks = [await started(line, held), await started(line, lambda: 1), await started(line, lambda: 2)]
            stopping = asyncio.ensure_future(pool.stop())
            await asyncio.sleep(0)
            held.let_go()

            assert await asyncio.gather(*tasks[:2]) == ["held", 1]
            with pytest.raises(ShuttingDown):
                await tasks[2]
            with pytest.raises(ShuttingDown):
                await line.run(lambda: 3)
            await stopping
            with pytest.raises(ShuttingDown):
                await line.run(lambda: 4)

    run(scenario)
