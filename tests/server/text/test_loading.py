"""Models of text when they are loaded: what is missing or does not fit is named, and the model does not serve."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cuelight.server.companions import accompanied
from cuelight.server.config import EngineConfig
from cuelight.server.inference.version_loader import Extensions, VersionLoader
from tests.running_repository import index, running
from tests.scale_models import scale_model, write_version
from tests.server.text.text_models import write_encoder, write_words


def reason(repository: Path) -> str:
    """Return why the model "m" does not serve."""

    async def scenario() -> str:
        loader = VersionLoader(EngineConfig(cores=1, device="cpu"), 100, None, Extensions(accompany=accompanied))
        async with running(repository, loader=loader, strict_readiness=False) as served:
            [(state, why)] = (await index(served)).values()
            assert state != "READY"
            return why

    return asyncio.run(scenario())


def without_tokenizer(folder: Path) -> None:
    write_encoder(folder, tokenizer=False)


def outside(folder: Path) -> None:
    write_encoder(folder, metadata={"cuelight.tokenizer": "../../tokenizer.json"})


def no_length(folder: Path) -> None:
    write_encoder(folder, metadata={"cuelight.max_tokens": "many"})


def other_tensors(folder: Path) -> None:
    model = scale_model(2, metadata={"cuelight.task": "text_embedding"})
    write_version(folder.parents[1], "m", 1, model)


def too_many_words(folder: Path) -> None:
    write_words(folder, "a\nb\nc\nd\ne\nf\n")


def a_line_without_word(folder: Path) -> None:
    write_words(folder, "a\nb\n\nd\ne\n")


def words_of_latin_1(folder: Path) -> None:
    write_words(folder)
    (folder / "words.txt").write_bytes(b"caf\xe9\n")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (without_tokenizer, "tokenizer.json: no such file"),
        (outside, 'metadata "cuelight.tokenizer": expected the name of a file, got "../../tokenizer.json"'),
        (no_length, 'metadata "cuelight.max_tokens": expected 1 or more, got "many"'),
        (other_tensors, 'input "x": expected no other than input_ids, attention_mask, token_type_ids'),
        (too_many_words, "cannot look up the vectors of 6 words"),
        (a_line_without_word, "words.txt: expected a word on each line, got none on line 3"),
        (words_of_latin_1, "words.txt: 'utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, write: Callable[[Path], None], said: str) -> None:
    write(tmp_path / "m" / "1")

    assert said in reason(tmp_path)
