"""Work beside the event loop: what is short is done at once, what waits is bounded."""

import asyncio
import threading

import pytest

from cuelight.server.errors import Overloaded
from cuelight.server.text.work_pool import WorkPool


def test_short_work_is_done_on_the_loop_and_long_work_is_not() -> None:
    async def scenario() -> None:
        pool = WorkPool(1, max_waiting_bytes=1000, inline_bytes=10)
        here = threading.get_ident()

        assert await pool.run(10, threading.get_ident) == here
        assert await pool.run(11, threading.get_ident) != here
        pool.close()

    asyncio.run(scenario())


def test_products_count_as_the_text_that_takes_as_long() -> None:
    async def scenario() -> None:
        pool = WorkPool(1, max_waiting_bytes=1000, inline_bytes=10)
        here = threading.get_ident()

        assert await pool.multiply(10_999, threading.get_ident) == here
        assert await pool.multiply(11_000, threading.get_ident) != here
        pool.close()

    asyncio.run(scenario())


def test_too_much_that_waits_is_refused_at_once_and_room_comes_back() -> None:
    async def scenario() -> None:
        pool = WorkPool(1, max_waiting_bytes=100, inline_bytes=0)
        gate = threading.Event()
        first = asyncio.ensure_future(pool.run(60, gate.wait))
        await asyncio.sleep(0)

        with pytest.raises(Overloaded, match="60 bytes of text wait"):
            await pool.run(41, gate.wait)
        second = asyncio.ensure_future(pool.run(40, gate.wait))
        await asyncio.sleep(0)
        assert pool.waiting_bytes == 100
        gate.set()
        await asyncio.gather(first, second)
        await asyncio.sleep(0)
        assert pool.waiting_bytes == 0
        pool.close()

    asyncio.run(scenario())


def test_short_work_neither_waits_for_long_work_nor_needs_its_room() -> None:
    async def scenario() -> None:
        pool = WorkPool(1, max_waiting_bytes=100, inline_bytes=0, short_bytes=10)
        gate = threading.Event()
        long = asyncio.ensure_future(pool.run(100, gate.wait))
        await asyncio.sleep(0)

        assert await pool.run(10, lambda: 7) == 7
        with pytest.raises(Overloaded, match="100 bytes of text wait"):
            await pool.run(11, gate.wait)
        gate.set()
        await long
        pool.close()

    asyncio.run(scenario())


def test_one_piece_of_work_may_be_larger_than_the_bound() -> None:
    async def scenario() -> None:
        pool = WorkPool(1, max_waiting_bytes=100, inline_bytes=0)

        assert await pool.run(1000, lambda: 7) == 7
        pool.close()

    asyncio.run(scenario())


def test_a_caller_that_leaves_gives_its_room_back_and_an_error_is_its_callers() -> None:
    async def scenario() -> None:
        pool = WorkPool(1, max_waiting_bytes=100, inline_bytes=0)
        gate = threading.Event()
        running = asyncio.ensure_future(pool.run(50, gate.wait))
        waiting = asyncio.ensure_future(pool.run(50, gate.wait))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.waiting_bytes == 50

        gate.set()
        await running
        with pytest.raises(ZeroDivisionError):
            await pool.run(50, lambda: 1 // 0)
        pool.close()

    asyncio.run(scenario())
