"""The follower: who waits knows when an update has come, and is not left waiting when none comes any more."""

import asyncio

import pytest

from cuelight.server.errors import ShuttingDown
from cuelight.server.recommender.follower import Follower


class Counting:
    """Knows one more of what is `wanted` with each update."""

    def __init__(self) -> None:
        self.wanted = 0
        self.known = 0

    async def __call__(self) -> bool:
        if self.known == self.wanted:
            return False
        await asyncio.sleep(0)
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
        await asyncio.wait_for(one, 10)
        assert counting.known < 3
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
