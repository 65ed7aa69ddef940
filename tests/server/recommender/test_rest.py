"""A rest: none after short work, none while somebody waits, and no longer than the work took, so many times over."""

import asyncio

from cuelight.server.recommender.rest import Rest

_LONG_S = 3600.0


def _resting(rest: Rest, took_s: float) -> "asyncio.Task[None]":
    return asyncio.create_task(rest.after(took_s))


def test_after_short_work_there_is_none() -> None:
    async def run() -> None:
        rest = Rest(_LONG_S, 0.05, lambda: False)
        await asyncio.wait_for(rest.after(0.04), 10)

    asyncio.run(run())


def test_it_lasts_until_somebody_is_in_a_hurry() -> None:
    async def run() -> None:
        hurried = False
        rest = Rest(_LONG_S, 0.05, lambda: hurried)
        resting = _resting(rest, 1.0)
        await asyncio.sleep(0)
        rest.hurry()
        await asyncio.sleep(0)
        assert not resting.done()
        hurried = True
        rest.hurry()
        await asyncio.wait_for(resting, 10)
        await asyncio.wait_for(rest.after(1.0), 10)

    asyncio.run(run())


def test_it_ends_by_itself() -> None:
    async def run() -> None:
        await asyncio.wait_for(Rest(1.0, 0.0, lambda: False).after(0.001), 10)

    asyncio.run(run())
