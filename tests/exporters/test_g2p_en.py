"""g2p-en served says what the published code says, word for word, and how often CMUdict agrees."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cuelight.client import AsyncChannel, AsyncTextClient, Transduced
from cuelight.exporters.attention_decoder.data import DICTIONARY, read_words
from cuelight.exporters.g2p_en import FACTS
from cuelight.exporters.weights import WeightsError
from tests.exporters.g2p_reference import published_g2p
from tests.serve_process import running_server

pytestmark = pytest.mark.slow

WORDS = 2000
LEAST_AGREEMENT = 0.69
"""With CMUdict: 1,391 of them measured, though the model was trained on most of these words."""


@pytest.fixture(scope="module")
def dictionary(cache_dir: Path) -> dict[str, list[list[str]]]:
    """2,000 words of CMUdict in plain letters, from all of the alphabet, and how they are said."""
    try:
        words = read_words(DICTIONARY.fetch(cache_dir))
    except WeightsError as error:
        pytest.skip(f"CMUdict cannot be had: {error}")
    plain = [word for word in words if word.isascii() and word.isalpha()]
    return {word: words[word] for word in plain[:: len(plain) // WORDS][:WORDS]}


@pytest.fixture(scope="module")
def served(
    dictionary: dict[str, list[list[str]]],
    repository_of: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Transduced]:
    """What a server says of each, 64 at a time."""
    models = repository_of("g2p_en")

    async def pronounced(target: str) -> list[Transduced]:
        turn = asyncio.Semaphore(64)
        async with AsyncChannel(target) as channel:
            client = AsyncTextClient(channel)

            async def one(word: str) -> Transduced:
                async with turn:
                    return await client.transduce(word, model="g2p_en")

            return await asyncio.gather(*map(one, dictionary))

    with running_server(models, tmp_path_factory.mktemp("log") / "log") as server:
        return dict(zip(dictionary, asyncio.run(pronounced(server.target)), strict=True))


def test_the_vocabularies_are_theirs_in_their_order(cache_dir: Path) -> None:
    theirs = published_g2p(cache_dir)

    assert list(FACTS.source_tokens) == theirs.graphemes
    assert list(FACTS.target_tokens) == theirs.phonemes


def test_every_word_is_said_as_by_the_published_code(served: dict[str, Transduced], cache_dir: Path) -> None:
    theirs = published_g2p(cache_dir)
    assert len(served) == WORDS

    different = {
        word: (one.best.text, " ".join(theirs.predict(word)))
        for word, one in served.items()
        if [token.token for token in one.best.tokens] != theirs.predict(word)
    }

    assert different == {}


def test_cmudict_agrees_with_most(served: dict[str, Transduced], dictionary: dict[str, list[list[str]]]) -> None:
    agree = sum(one.best.text.split() in dictionary[word] for word, one in served.items())

    print(f"{agree} of {len(served)} words exactly as CMUdict has them")
    assert agree / len(served) >= LEAST_AGREEMENT
