"""Work is done in its order, on one thread, and what it raises is its caller's own."""

import asyncio
import threading

import pytest

from cuelight.server.recommender.work_thread import WorkThread


def test_work_is_done_in_order_on_one_thread() -> None:
    async def run() -> None:
        thread, done = WorkThread("test"), list[tuple[int, int]]()

        await asyncio.gather(*(thread.run(lambda n=n: done.append((n, threading.get_ident()))) for n in range(50)))  # type: ignore[misc]
        thread.close()

        assert [number for number, _ in done] == list(range(50))
        assert len({ident for _, ident in done}) == 1
        assert done[0][1] != threading.get_ident()

    asyncio.run(run())


def test_work_whose_caller_left_before_it_began_is_not_done() -> None:
    async def run() -> None:
        thread, goes_on, done = WorkThread("test"), threading.Event(), list[str]()
        first = asyncio.ensure_future(thread.run(goes_on.wait))
        left = asyncio.ensure_future(thread.run(lambda: done.append("left")))
        stays = asyncio.ensure_future(thread.run(lambda: done.append("stays")))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        goes_on.set()
        await asyncio.gather(first, stays)
        thread.close()

        assert done == ["stays"]

    asyncio.run(run())


def test_what_fails_fails_alone_and_who_left_is_not_answered() -> None:
    async def run() -> None:
        thread, goes_on = WorkThread("test"), threading.Event()
        left = asyncio.ensure_future(thread.run(goes_on.wait))
        failing = asyncio.ensure_future(thread.run(lambda: 1 // 0))
        await asyncio.sleep(0)
        left.cancel()
        goes_on.set()

        with pytest.raises(ZeroDivisionError):
            await failing
        assert await thread.run(lambda: 7) == 7
        thread.close()

    asyncio.run(run())


def test_a_thread_that_was_never_needed_closes_too() -> None:
    WorkThread("test").close()


def test_it_is_idle_until_work_is_given_and_again_once_that_is_answered_even_if_nobody_waits() -> None:
    async def run() -> None:
        thread, goes_on = WorkThread("test"), threading.Event()
        assert thread.idle
        left = asyncio.ensure_future(thread.run(goes_on.wait))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        assert not thread.idle
        goes_on.set()
        assert await thread.run(lambda: 7) == 7
        assert thread.idle
        thread.close()

    asyncio.run(run())
