"""What waits for a caller that reads slowly: interim results make way, final ones do not, and the voice waits."""

import asyncio

from cuelight.server.speech.results import Hypothesis, Result, Update
from cuelight.server.speech.service.outbox import VoiceOutbox


def update(text: str, final: bool) -> Update:
    return Update((Result((Hypothesis(text),), final, 0.0, 1.0, 0),))


def texts(updates: list[Update]) -> list[str]:
    return [each.results[0].hypotheses[0].text for each in updates]


def test_a_later_interim_result_takes_the_place_of_one_that_waits() -> None:
    async def run() -> list[Update]:
        outbox = VoiceOutbox()
        for text, final in (("a", False), ("a b", False), ("a b c", True), ("d", False), ("d e", False)):
            await outbox.put(update(text, final))
        outbox.end()
        return [each async for each in outbox.updates()]

    assert texts(asyncio.run(run())) == ["a b", "a b c", "d e"]


def test_a_caller_that_does_not_read_holds_the_voice() -> None:
    async def run() -> tuple[bool, list[Update]]:
        outbox = VoiceOutbox()

        async def speak() -> None:
            for number in range(100):
                await outbox.put(update(str(number), True))
            outbox.end()

        task = asyncio.create_task(speak())
        for _ in range(200):
            await asyncio.sleep(0)
        held = not task.done()
        return held, [each async for each in outbox.updates()]

    held, updates = asyncio.run(run())

    assert held
    assert texts(updates) == [str(number) for number in range(100)]


def test_the_end_lets_a_held_voice_go() -> None:
    async def run() -> None:
        outbox = VoiceOutbox()

        async def speak() -> None:
            for number in range(100):
                await outbox.put(update(str(number), True))

        task = asyncio.create_task(speak())
        for _ in range(200):
            await asyncio.sleep(0)
        outbox.end()
        await task

    asyncio.run(run())
