"""The tokenizer beside a model: what is cut off, and files that are none."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.text.tokenizer import TextTokenizer, read_tokenizer
from tests.server.text.text_models import WORDS, tiny_tokenizer


@given(st.lists(st.sampled_from(WORDS[4:]), max_size=20), st.integers(3, 12))
def test_a_long_text_is_cut_as_the_library_cuts(words: list[str], most: int) -> None:
    text = " ".join(words)
    library = tiny_tokenizer()
    library.enable_truncation(most)

    [encoded] = TextTokenizer(tiny_tokenizer()).encode([text], most)

    assert encoded.ids == library.encode(text).ids
    assert encoded.full_count == len(words) + 2
    assert encoded.truncated == (len(words) + 2 > most)


def test_the_files_own_truncation_and_padding_do_not_count(tmp_path: Path) -> None:
    saved = tiny_tokenizer()
    saved.enable_truncation(3)
    saved.enable_padding(length=16)
    path = tmp_path / "tokenizer.json"
    path.write_text(saved.to_str())

    tokenizer = read_tokenizer(path)

    assert tokenizer.encode(["one two three"], 10)[0].ids == [2, 4, 5, 6, 3]
    assert tokenizer.tokens("one two three").tokens == ["[CLS]", "one", "two", "three", "[SEP]"]


def test_tokens_tell_where_they_come_from() -> None:
    tokens = TextTokenizer(tiny_tokenizer()).tokens("one  zwölf")

    assert tokens.ids == [2, 4, 1, 3]
    assert list(zip(tokens.starts, tokens.ends, strict=True)) == [(0, 0), (0, 3), (5, 10), (0, 0)]
    assert tokens.special == [True, False, False, True]


def test_tokens_come_without_markers_too() -> None:
    tokenizer = TextTokenizer(tiny_tokenizer())

    assert tokenizer.tokens("two one", special=False).tokens == ["two", "one"]
    assert tokenizer.tokens("", special=False).ids == []


class Unlocking:
    """The part of the library's tokenizer that releases the interpreter lock: what takes batches."""

    def __init__(self) -> None:
        library = tiny_tokenizer()
        self.encode_batch = library.encode_batch
        self.encode_batch_fast = library.encode_batch_fast


def test_nothing_is_encoded_holding_the_interpreter_lock() -> None:
    tokenizer = TextTokenizer(Unlocking())

    assert tokenizer.encode(["one two"], 8)[0].ids == tokenizer.tokens("one two").ids == [2, 4, 5, 3]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r'tokenizer.json: no such file; metadata "cuelight.tokenizer" names it'):
        read_tokenizer(tmp_path / "tokenizer.json")


def test_without_the_library_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(tiny_tokenizer().to_str())
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # as if it were not installed

    with pytest.raises(ModelLoadError, match=r'needs the library tokenizers: pip install "cuelight\[server\]"'):
        read_tokenizer(path)


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"version": "1.0"')

    with pytest.raises(ModelLoadError, match=r"tokenizer.json: not a tokenizer: "):
        read_tokenizer(path)
