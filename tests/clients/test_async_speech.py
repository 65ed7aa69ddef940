"""Live speech for asyncio: the same results, errors where the caller waits, and no thread left behind."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from cuelight.client import SpeechClient, stream_speech
from tests.clients.fake_speech import FakeSpeech, expected_texts, once_at, served
from tests.clients.test_recognition import AUDIO, QUICK, RAW, chunks_of, cut


async def spoken(audio: bytes = AUDIO, size: int = 500) -> AsyncIterator[bytes]:
    for chunk in chunks_of(audio, size):
        yield chunk


async def finals(client: SpeechClient, chunks: AsyncIterator[bytes]) -> list[str]:
    updates = stream_speech(client, chunks, options=RAW)
    return [result.text async for update in updates for result in update.finals]


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cuelight-speech")]


def test_a_server_that_dies_is_followed_by_the_next() -> None:
    first, second = FakeSpeech(once_at(4321, cut)), FakeSpeech()
    with served(first) as (one, _), served(second) as (two, _):
        client = SpeechClient([one, two], policy=QUICK)

        assert asyncio.run(finals(client, spoken(size=50))) == expected_texts(AUDIO)


def test_many_voices_share_a_loop() -> None:
    async def all_of(client: SpeechClient) -> list[list[str]]:
        return await asyncio.gather(*(finals(client, spoken(AUDIO[: 2000 * voice])) for voice in range(1, 8)))

    with served(FakeSpeech()) as (channel, _):
        told = asyncio.run(all_of(SpeechClient(channel, policy=QUICK)))

    assert told == [expected_texts(AUDIO[: 2000 * voice]) for voice in range(1, 8)]


def test_what_the_chunks_raise_reaches_the_caller() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield AUDIO[:640]
        raise OSError("the call was dropped")

    with served(FakeSpeech()) as (channel, _), pytest.raises(OSError, match="the call was dropped"):
        asyncio.run(finals(SpeechClient(channel), broken()))


def test_leaving_early_leaves_no_thread() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield AUDIO[:640]
        await asyncio.Event().wait()

    async def leave(client: SpeechClient) -> None:
        async with aclosing(stream_speech(client, endless(), options=RAW)) as updates:
            async for update in updates:
                if update.interim:
                    break

    with served(FakeSpeech()) as (channel, _):
        asyncio.run(leave(SpeechClient(channel)))

    for thread in threading.enumerate():
        if thread.name.startswith("cuelight-speech"):
            thread.join(5.0)
    assert names() == []
