"""The follower: who waits knows when an update has come, and is not left waiting when none comes any more."""

import asyncio

import pytest

from cuelight.server.errors import ShuttingDown
from cuelight.server.recommender.follower import Follower


class Clock:
    """An hour passes whenever it is looked at."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 3600
        return self.now_s


class Counting:
    """Knows one more of what is `wanted` with each update, which takes until it is let go."""

    def __init__(self) -> None:
        self.wanted = 0
        self.known = 0
        self.let_go = asyncio.Semaphore(0)

    async def __call__(self) -> bool:
        if self.known == self.wanted:
            return False
        await self.let_go.acquire()
        self.known += 1
        return True


def test_updates_are_made_until_nothing_is_new_and_whoever_waits_goes_on_as_soon_as_possible() -> None:
    async def run() -> None:
        counting = Counting()
        follower = Follower(counting)
        keeping = asyncio.create_task(follower.keep())
        counting.wanted = 3
        one = asyncio.create_task(follower.followed(lambda: counting.known >= 1))
        all_three = asyncio.create_task(follower.followed(lambda: counting.known >= 3))
        follower.outdated()
        counting.let_go.release()
        await asyncio.wait_for(one, 10)
        assert counting.known == 1
        assert not all_three.done()
        counting.let_go.release()
        counting.let_go.release()
        await asyncio.wait_for(all_three, 10)
        assert counting.known == 3
        keeping.cancel()

    asyncio.run(run())


def test_when_no_update_comes_any_more_nobody_is_left_waiting() -> None:
    async def run() -> None:
        async def fail() -> bool:
            raise ArithmeticError("no inverse")

        follower = Follower(fail)
        keeping = asyncio.create_task(follower.keep())
        waiting = asyncio.create_task(follower.followed(lambda: False))
        await asyncio.sleep(0)
        follower.outdated()
        with pytest.raises(ShuttingDown):
            await asyncio.wait_for(waiting, 10)
        with pytest.raises(ArithmeticError):
            await keeping
        with pytest.raises(ShuttingDown):
            await asyncio.wait_for(follower.followed(lambda: False), 10)

    asyncio.run(run())


def test_after_a_long_update_it_rests_but_not_while_somebody_waits() -> None:
    async def run() -> None:
        counting = Counting()
        follower = Follower(counting, Clock())
        keeping = asyncio.create_task(follower.keep())
        counting.wanted = 2
        counting.let_go.release()
        counting.let_go.release()
        follower.outdated()
        for _ in range(20):
            await asyncio.sleep(0)
        assert counting.known == 1  # and now it rests for an hour
        await asyncio.wait_for(follower.followed(lambda: counting.known >= 2), 10)
        keeping.cancel()

    asyncio.run(run())
