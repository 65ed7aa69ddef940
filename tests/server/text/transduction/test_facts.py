"""What a model says of itself, and which texts it takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.text.transduction.facts import KEY, TransductionFacts, read_facts

SAID: dict[str, Any] = {
    "decoder": "decoder.onnx",
    "source_vocabulary": "source.txt",
    "source_unit": "character",
    "source_end": "</s>",
    "lowercase": True,
    "max_source_tokens": 5,
    "target_vocabulary": "target.txt",
    "start": "<s>",
    "end": "</s>",
    "joiner": "-",
    "max_tokens": 9,
}


def facts_of(folder: Path, **changes: Any) -> TransductionFacts:
    (folder / "source.txt").write_text("</s>\na\nb\né\n \n", encoding="utf-8")
    (folder / "target.txt").write_text("<s>\n</s>\nX\nY\n", encoding="utf-8")
    return read_facts({KEY: json.dumps({**SAID, **changes})}, folder)


def test_a_text_becomes_symbols_with_the_end_behind(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)

    assert facts.symbols("Ab É"[:4]) == ["a", "b", " ", "é", "</s>"]
    assert [facts.source[symbol] for symbol in facts.symbols("ab")] == [1, 2, 0]


def test_tokens_are_joined_as_the_model_says(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)

    assert (facts.start, facts.end) == (0, 1)
    assert facts.joined([2, 3, 2]) == "X-Y-X"
    assert facts.joined([]) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "text: expected a text, got an empty one"),
        ("  ", "text: expected a text, got white space"),
        ("ababa", "text: expected at most 4 characters, got 5"),
        ("abc", "text: character 2 is 'c', which the model does not know; it knows abé "),
        ("a\n", r"text: character 1 is '\n', which"),
    ],
)
def test_a_text_that_cannot_be_taken_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        facts_of(tmp_path).symbols(text)

    assert message in str(caught.value)


def test_a_model_that_tells_capitals_apart_gets_them(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="character 0 is 'A'"):
        facts_of(tmp_path, lowercase=False).symbols("Ab")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joiner": 3}, "joiner: got 3, expected a string"),
        ({"max_tokens": True}, "max_tokens: got True, expected a whole number"),
        ({"max_tokens": 1}, "max_tokens: got 1, expected 2 or more"),
        ({"lowercase": 1}, "lowercase: got 1, expected a boolean"),
        ({"start": "<go>"}, "start: '<go>' is not in its vocabulary"),
        (
            {"decoder": "../decoder.onnx"},
            "decoder: got '../decoder.onnx', expected the name of a file",
        ),
        ({"source_unit": "word"}, "source_unit: got 'word', expected \"character\""),
        ({"more": 1}, "expected an object with the keys decoder, "),
        ({"target_vocabulary": "absent.txt"}, "absent.txt: cannot be read"),
    ],
)
def test_what_cannot_be_served_is_named_at_load(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        facts_of(tmp_path, **changes)

    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_token_that_is_there_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "twice.txt").write_text("<s>\n</s>\nX\nX\n", encoding="utf-8")

    with pytest.raises(ModelLoadError, match=r"twice\.txt: 'X' is there twice"):
        facts_of(tmp_path, target_vocabulary="twice.txt")


def test_metadata_that_is_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=f'metadata "{KEY}": not JSON'):
        read_facts({KEY: "{"}, tmp_path)
