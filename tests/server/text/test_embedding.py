"""Texts on their way through a model's queue: order, bound, and who leaves takes all of its own along."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cuelight.server.errors import Overloaded
from cuelight.server.inference.engine import SessionConfig
from cuelight.server.text.embedding import outputs_of
from cuelight.server.text.tokenizer import EncodedText


class FakeVersion:
    """Keeps what is submitted; answers a text with its length when told to."""

    def __init__(self, room: int = 1000, engines: Sequence[SessionConfig] = (SessionConfig(),)) -> None:
        self.signature = SimpleNamespace(max_batch_size=2)
        self.engines = [SimpleNamespace(config=config) for config in engines]
        self.asked: list[tuple[int, asyncio.Future[Any]]] = []
        self.deadlines: set[float | None] = set()
        self._room = room

    def submit(self, inputs: dict[str, Any], rows: int, *, deadline_s: float | None) -> Any:
        if len(self.asked) >= self._room:
            raise Overloaded("full")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked.append((inputs["input_ids"].shape[1], future))
        self.deadlines.add(deadline_s)
        return future

    def answer(self, count: int) -> None:
        for size, future in [entry for entry in self.asked if not entry[1].done()][:count]:
            future.set_result({"embedding": np.full((1, 3), size, np.float32)})


ENCODER: Any = SimpleNamespace(inputs=lambda ids: {"input_ids": np.array([ids])})


def texts(*sizes: int) -> dict[int, EncodedText]:
    return {index: EncodedText([1] * size, size) for index, size in enumerate(sizes)}


def begun(version: Any, sizes: dict[int, EncodedText]) -> "asyncio.Task[dict[int, Any]]":
    return asyncio.ensure_future(outputs_of(version, ENCODER, sizes, 9.5, dict))


def test_answers_are_in_the_texts_order_though_short_ones_go_first() -> None:
    async def scenario() -> None:
        version = FakeVersion()
        task = begun(version, texts(5, 1, 3))
        await asyncio.sleep(0)
        assert [size for size, _ in version.asked] == [1, 3, 5]
        version.answer(3)

        answers = await task

        assert {index: answer["embedding"].tolist() for index, answer in answers.items()} == {
            0: [5] * 3,
            1: [1] * 3,
            2: [3] * 3,
        }
        assert version.deadlines == {9.5}

    asyncio.run(scenario())


def test_no_more_than_two_batches_wait_at_once() -> None:
    async def scenario() -> None:
        version = FakeVersion()
        task = begun(version, texts(*range(1, 11)))
        await asyncio.sleep(0)
        assert len(version.asked) == 4
        version.answer(2)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(version.asked) == 6
        while not task.done():
            version.answer(2)
            await asyncio.sleep(0)
        assert sorted(await task) == list(range(10))

    asyncio.run(scenario())


def test_a_caller_that_leaves_leaves_nothing_in_the_queue() -> None:
    async def scenario() -> None:
        version = FakeVersion()
        task = begun(version, texts(1, 2, 3))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert all(future.cancelled() for _, future in version.asked)

    asyncio.run(scenario())


def test_a_full_queue_takes_back_what_it_took() -> None:
    async def scenario() -> None:
        version = FakeVersion(room=2)
        with pytest.raises(Overloaded):
            await begun(version, texts(1, 2, 3))

        assert [future.cancelled() for _, future in version.asked] == [True, True]

    asyncio.run(scenario())


ONE_CORE, TWO_CORES, GPU = SessionConfig(), SessionConfig(threads=2), SessionConfig(device="cuda")


@pytest.mark.parametrize(
    ("engines", "long"),
    [((ONE_CORE,), 2), ((TWO_CORES,), 2), ((TWO_CORES, ONE_CORE, ONE_CORE), 4), ((GPU,), 16), ((GPU, GPU), 32)],
)
def test_fewer_long_texts_wait_at_once_than_short_ones(engines: Sequence[SessionConfig], long: int) -> None:
    async def scenario() -> None:
        version = FakeVersion(engines=engines)
        version.signature.max_batch_size = 100
        task = begun(version, texts(*[8] * 40, *[256] * 40))
        await asyncio.sleep(0)
        assert [size for size, _ in version.asked] == [8] * 40
        version.answer(40)
        for _ in range(3):
            await asyncio.sleep(0)
        assert [size for size, _ in version.asked[40:]] == [256] * long
        while not task.done():
            version.answer(1)
            await asyncio.sleep(0)

        assert len(await task) == 80

    asyncio.run(scenario())


def test_a_text_of_more_tokens_than_may_wait_goes_alone() -> None:
    async def scenario() -> None:
        version = FakeVersion()
        task = begun(version, texts(9000, 9000))
        await asyncio.sleep(0)
        assert len(version.asked) == 1
        while not task.done():
            version.answer(1)
            await asyncio.sleep(0)

        assert len(await task) == 2

    asyncio.run(scenario())
