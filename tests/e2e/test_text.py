"""Sentences of every length on the trained model, through a real server on both fronts: together as alone."""

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cuelight.client import AsyncChannel, AsyncTextClient, Channel, TextClient
from cuelight.exporters import minilm_l6_v2
from tests.serve_process import FRONTS, ServeProcess, running_server

pytestmark = pytest.mark.slow

WORDS = "the quick brown fox jumps over a lazy dog while nine wizards hurriedly box gifts for queen Victoria".split()  # noqa: SIM905
LENGTHS = (1, 2, 4, 7, 11, 18, 40, 90, 200, 300)
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def version(repository_of: Callable[..., Path]) -> Path:
    """The exported version's folder."""
    return repository_of("minilm_l6_v2") / "minilm_l6_v2" / "1"


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = random.Random(7)
    return [" ".join(rng.choice(WORDS) for _ in range(rng.choice(LENGTHS))) for _ in range(120)]


@pytest.fixture(scope="module")
def alone(version: Path, texts: list[str]) -> NDArray[np.float32]:
    """What the file itself answers, text by text, unpadded, cut by the library of its tokenizer."""
    session = ort.InferenceSession(str(version / "model.onnx"))
    tokenizer = Tokenizer.from_file(str(version / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(minilm_l6_v2.MAX_TOKENS)
    rows = [np.array([tokenizer.encode(text).ids]) for text in texts]
    return np.concatenate(
        [session.run(None, {"input_ids": row, "attention_mask": np.ones_like(row)})[0] for row in rows]
    )


@pytest.fixture(scope="module", params=FRONTS)
def server(
    request: pytest.FixtureRequest, version: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    log = tmp_path_factory.mktemp("log") / "log"
    with running_server(version.parents[1], log, front=request.param) as running:
        yield running


def test_many_callers_get_what_each_would_alone(
    server: ServeProcess, texts: list[str], alone: NDArray[np.float32]
) -> None:
    async def called() -> NDArray[np.float32]:
        async with AsyncChannel(server.target) as channel:
            client = AsyncTextClient(channel)
            answers = await asyncio.gather(*(client.embed(text) for text in texts))
        return np.stack([answer.values for answer in answers])

    got = asyncio.run(called())

    np.testing.assert_allclose(got, alone, atol=TOLERANCE)


def test_one_call_of_all_texts_gets_them_in_order(
    server: ServeProcess, texts: list[str], alone: NDArray[np.float32]
) -> None:
    with Channel(server.target) as channel:
        answers = TextClient(channel).embed_many(texts)

    np.testing.assert_allclose(np.stack([answer.values for answer in answers]), alone, atol=TOLERANCE)
    assert [answer.truncated for answer in answers] == [len(text.split()) > 254 for text in texts]


def test_callers_that_leave_harm_nobody(server: ServeProcess, texts: list[str], alone: NDArray[np.float32]) -> None:
    async def called() -> NDArray[np.float32]:
        async with AsyncChannel(server.target) as channel:
            client = AsyncTextClient(channel)
            calls = [asyncio.ensure_future(client.embed(text)) for text in texts]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for call in calls[::2]:
                call.cancel()
            answers = await asyncio.gather(*calls[1::2])
            again = await client.embed(texts[0])
        return np.stack([*(answer.values for answer in answers), again.values])

    got = asyncio.run(called())

    np.testing.assert_allclose(got, np.concatenate([alone[1::2], alone[:1]]), atol=TOLERANCE)
