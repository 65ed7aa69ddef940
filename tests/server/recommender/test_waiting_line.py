"""The line: who waits together is served together, nobody is left hanging, nobody harms another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from cuelight.server.errors import InvalidRequest, Overloaded, ShuttingDown
from cuelight.server.recommender.waiting_line import WaitingLine

Line = WaitingLine[int, int]


class Doubling:
    """Doubles; the first run waits until it is told to go on. 13 is an error, and 99 fails its whole group."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, asked: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(asked))
        await self.go_on.wait()
        if 99 in asked:
            raise RuntimeError("a run that fails")
        return [InvalidRequest("thirteen") if number == 13 else 2 * number for number in asked]


def test_a_group_is_no_larger_than_its_entries_together_may_be_and_who_left_takes_no_room() -> None:
    async def run() -> None:
        doubling = Doubling()
        line: Line = WaitingLine(doubling, 10, 10, size=float)
        serving = asyncio.create_task(line.serve())
        first = await asked(line, 1)
        rest = await asked(line, 4, 5, 2, 30, 6, 4)
        rest[4].cancel()
        doubling.go_on.set()
        await asyncio.wait_for(asyncio.gather(*first, *rest, return_exceptions=True), 10)

        assert doubling.groups == [[1], [4, 5], [2], [30], [4]]
        serving.cancel()
        await asyncio.wait([serving])

    asyncio.run(run())


def scenario(
    play: Callable[[Line, Doubling], Awaitable[None]],
    max_waiting: int = 10,
    max_group: int = 4,
    at_once: bool = False,
) -> None:
    async def run() -> None:
        doubling = Doubling()
        line: Line = WaitingLine(doubling, max_waiting, max_group, at_once)
        serving = asyncio.create_task(line.serve())
        await asyncio.wait_for(play(line, doubling), 10)
        serving.cancel()
        await asyncio.wait([serving])

    asyncio.run(run())


async def asked(line: Line, *numbers: int) -> "list[asyncio.Task[int]]":
    tasks = [asyncio.create_task(line.ask(number)) for number in numbers]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_what_comes_while_a_group_is_served_is_the_next_group() -> None:
    async def play(line: Line, doubling: Doubling) -> None:
        first = await asked(line, 1)
        rest = await asked(line, 2, 3, 4, 5, 6)
        doubling.go_on.set()

        assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8, 10, 12]
        assert doubling.groups == [[1], [2, 3, 4, 5], [6]]

    scenario(play)


def test_a_full_line_refuses_at_once() -> None:
    async def play(line: Line, doubling: Doubling) -> None:
        await asked(line, 1)
        await asked(line, 2, 3)

        with pytest.raises(Overloaded, match="2 requests wait"):
            await line.ask(4)
        doubling.go_on.set()

    scenario(play, max_waiting=2)


def test_an_error_is_its_own_caller_s_and_a_failed_run_its_group_s() -> None:
    async def play(line: Line, doubling: Doubling) -> None:
        doubling.go_on.set()
        one, thirteen = await asyncio.gather(line.ask(1), line.ask(13), return_exceptions=True)
        assert one == 2
        assert isinstance(thirteen, InvalidRequest)

        failed = await asyncio.gather(line.ask(98), line.ask(99), return_exceptions=True)
        assert [str(error) for error in failed] == ["a run that fails"] * 2
        assert await line.ask(5) == 10

    scenario(play)


def test_a_caller_that_left_is_skipped() -> None:
    async def play(line: Line, doubling: Doubling) -> None:
        [first] = await asked(line, 1)
        left, stayed = await asked(line, 2, 3)
        left.cancel()
        doubling.go_on.set()

        assert [await first, await stayed] == [2, 6]
        assert doubling.groups == [[1], [3]]

    scenario(play)


def test_who_waits_when_the_line_closes_is_told() -> None:
    async def play(line: Line, doubling: Doubling) -> None:
        [served] = await asked(line, 1)
        [waiting] = await asked(line, 2)
        line.close()

        with pytest.raises(ShuttingDown):
            await waiting
        with pytest.raises(ShuttingDown):
            await line.ask(3)
        doubling.go_on.set()
        assert await served == 2

    scenario(play)


def test_who_is_being_served_when_the_server_stops_is_told() -> None:
    async def run() -> None:
        line: Line = WaitingLine(Doubling(), 10, 4)
        serving = asyncio.create_task(line.serve())
        [caller] = await asked(line, 1)
        serving.cancel()
        with pytest.raises(ShuttingDown):
            await caller

    asyncio.run(run())


def test_who_comes_while_one_is_served_at_once_waits_with_others() -> None:
    async def play(line: Line, doubling: Doubling) -> None:
        [alone] = await asked(line, 1)
        rest = await asked(line, 2, 3)
        doubling.go_on.set()

        assert await asyncio.gather(alone, *rest) == [2, 4, 6]
        assert doubling.groups == [[1], [2, 3]]
        with pytest.raises(InvalidRequest):
            await line.ask(13)
        with pytest.raises(RuntimeError, match="a run that fails"):
            await line.ask(99)
        assert await line.ask(5) == 10

    scenario(play, at_once=True)


def test_who_is_served_at_once_and_leaves_harms_nobody() -> None:
    async def play(line: Line, doubling: Doubling) -> None:
        [left] = await asked(line, 1)
        [stayed] = await asked(line, 2)
        left.cancel()
        doubling.go_on.set()

        assert await stayed == 4
        assert await line.ask(3) == 6
        assert line.waiting == 0

    scenario(play, at_once=True)


def test_a_line_that_is_no_longer_served_leaves_nobody_waiting() -> None:
    async def run() -> None:
        line: Line = WaitingLine(Doubling(), 10, 4)
        serving = asyncio.create_task(line.serve())
        served = await asked(line, 1)
        waiting = await asked(line, 2)
        serving.cancel()
        for left in (*served, *waiting):
            with pytest.raises(ShuttingDown):
                await asyncio.wait_for(left, 10)
        with pytest.raises(ShuttingDown):
            await line.ask(3)

    asyncio.run(run())
