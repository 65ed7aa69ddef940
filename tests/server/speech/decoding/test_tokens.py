"""tokens.txt: what is read from it, the text and words it spells, the ids that spell a phrase."""

import math
from pathlib import Path

import pytest

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.speech.decoding.tokens import TokenTable

LETTERS = "<blk> 0\n  1\n" + "".join(f"{letter} {id_}\n" for id_, letter in enumerate("abcdefghijklmnopqrstuvwxyz", 2))
PIECES = "<blk> 0\n<sos/eos> 1\n<unk> 2\n▁ 3\n▁HE 4\nLL 5\nO 6\n▁WORLD 7\nH 8\nE 9\n▁A 10\n'S 11\n你 12\n好 13\n"
BYTES = "<blk> 0\n▁caf 1\n" + "".join(f"<0x{byte:02X}> {2 + byte}\n" for byte in range(256))
IN_BYTES = "<blk> 0\n▁Ƌţ 1\nŅ 2\n▁HI 3\n▁ƌŋţ 4\n▁ 5\nƀ 6\n"
"""你 is the bytes E4 BD A0 and 好 is E5 A5 BD, spelt in the letters of sherpa-onnx's bbpe.cc."""
SYMBOLS = "<blank> 0\n你 1\n好 2\n吗 3\n"


def read(folder: Path, content: str | bytes) -> TokenTable:
    file = folder / "tokens.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TokenTable.read(file)


@pytest.mark.parametrize(
    ("content", "blank", "unknown", "size"),
    [
        (PIECES, 0, 2, 14),
        ("a 0\r\nb 1\r\n<blk> 2\r\n", 2, None, 3),
        ("<eps> 0\nYES 1\n\n", 0, None, 2),
        (SYMBOLS, 0, None, 4),
        ("<blank> 1\n<blk> 0\n", 0, None, 2),
    ],
)
def test_the_silent_symbols_are_found(tmp_path: Path, content: str, blank: int, unknown: int | None, size: int) -> None:
    table = read(tmp_path, content)

    assert (table.blank, table.unknown, table.size) == (blank, unknown, size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<blk> 0\na b 1\n", r"tokens.txt:2: expected `symbol id`, got 'a b 1'"),
        ("<blk> 0\na one\n", r"tokens.txt:2: expected UTF-8 `symbol id`, got 'a one'"),
        ("<blk> 0\na -1\n", r"tokens.txt:2: expected UTF-8 `symbol id`, got 'a -1'"),
        (b"<blk> 0\n\xff 1\n", r"tokens.txt:2: expected UTF-8 `symbol id`"),
        ("<blk> 0\na 1\nb 1\n", r"tokens.txt:3: id 1 is taken by 'a'"),
        ("a 0\n", r"tokens.txt: expected one of <blk>, <eps>, <blank> among the symbols"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        read(tmp_path, content)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"absent\.txt: No such file"):
        TokenTable.read(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("content", "ids", "text"),
    [
        (PIECES, [4, 5, 6, 7], "HELLO WORLD"),
        (PIECES, [4, 2, 5, 0, 6, 1], "HELLO"),
        (PIECES, [3, 8, 9, 3, 3, 7, 11], "HE WORLD'S"),
        (PIECES, [12, 13, 7, 12], "你好 WORLD你"),
        (PIECES, [3, 12, 3, 13], "你好"),
        (LETTERS, [1, 9, 10, 1, 22, 1], "hi u"),
        (BYTES, [1, 2 + 0xC3, 2 + 0xA9], "café"),
        (BYTES, [1, 2 + 0xC3], "caf"),
        (SYMBOLS, [1, 2, 3], "你好吗"),
        (IN_BYTES, [1, 2, 4, 3], "你好 HI"),
        (IN_BYTES, [1], ""),
        ("<blk> 0\n| 1\na 2\nb 3\n", [2, 1, 3], "a b"),
        (PIECES, [4, 999], "HE"),
        (PIECES, [], ""),
    ],
)
def test_ids_become_text(tmp_path: Path, content: str, ids: list[int], text: str) -> None:
    assert read(tmp_path, content).text(ids) == text


@pytest.mark.parametrize(
    ("content", "ids", "words"),
    [
        (PIECES, [4, 5, 6, 7], [("HELLO", 0, 3), ("WORLD", 3, 4)]),
        (PIECES, [3, 8, 9, 3, 7, 11], [("HE", 0, 3), ("WORLD'S", 4, 6)]),
        (PIECES, [12, 13, 7, 12], [("你", 0, 1), ("好", 1, 2), ("WORLD", 2, 3), ("你", 3, 4)]),
        (LETTERS, [9, 10, 1, 22], [("hi", 0, 2), ("u", 3, 4)]),
        (LETTERS, [1, 1, 9, 1], [("h", 2, 3)]),
        (SYMBOLS, [1, 2], [("你", 0, 1), ("好", 1, 2)]),
        ("<eps> 0\nYES 1\nNO 2\n", [1, 2], [("YES", 0, 1), ("NO", 1, 2)]),
        (BYTES, [1, 2 + 0xC3, 2 + 0xA9], [("café", 0, 3)]),
        (IN_BYTES, [1, 2, 4, 3], [("你", 0, 2), ("好", 2, 3), ("HI", 3, 4)]),
        (PIECES, [3], []),
        (PIECES, [], []),
    ],
)
def test_ids_become_words(tmp_path: Path, content: str, ids: list[int], words: list[tuple[str, int, int]]) -> None:
    table = read(tmp_path, content)
    frames = [10 * index for index in range(len(ids))]
    log_probs = [-0.1 * index for index in range(len(ids))]

    found = table.words(ids, frames, log_probs, frame_s=0.04, offset_s=2.0)

    assert [word.text for word in found] == [text for text, _, _ in words]
    for word, (_, first, last) in zip(found, words, strict=True):
        assert word.start_s == pytest.approx(2.0 + 0.4 * first)
        assert word.confidence == pytest.approx(math.exp(sum(log_probs[first:last]) / (last - first)))


def test_a_word_ends_a_little_after_its_last_token_or_where_the_next_one_begins(tmp_path: Path) -> None:
    found = read(tmp_path, PIECES).words([4, 7, 10], [0, 2, 20], [0.0, 0.0, 0.0], frame_s=0.04)

    assert [(word.start_s, word.end_s) for word in found] == [
        pytest.approx((0.0, 0.08)),
        pytest.approx((0.08, 0.2)),
        pytest.approx((0.8, 0.92)),
    ]


@pytest.mark.parametrize(
    ("content", "phrase", "ids"),
    [
        (PIECES, "HELLO WORLD", [4, 5, 6, 7]),
        (PIECES, " hello  World ", [4, 5, 6, 7]),
        (PIECES, "HO", [3, 8, 6]),
        (PIECES, "你好", [12, 13]),
        (PIECES, "你好 world", [12, 13, 7]),
        (PIECES, "zebra", None),
        (PIECES, "", None),
        (LETTERS, "Hi u", [9, 10, 1, 22]),
        (LETTERS, "naïve", None),
        (SYMBOLS, "你 好", [1, 2]),
        (IN_BYTES, "你好 hi", [1, 2, 4, 3]),
        (BYTES, "café", [1, 2 + 0xC3, 2 + 0xA9]),
        ("<blk> 0\n▁ab 1\n▁a 2\nbc 3\n", "abc", [2, 3]),
    ],
)
def test_a_phrase_is_spelt_or_is_none(tmp_path: Path, content: str, phrase: str, ids: list[int] | None) -> None:
    assert read(tmp_path, content).encode(phrase) == ids


@pytest.mark.parametrize("content", [PIECES, LETTERS])
def test_what_is_spelt_reads_the_same(tmp_path: Path, content: str) -> None:
    table = read(tmp_path, content)

    ids = table.encode("hello a hello")

    assert ids is not None
    assert table.text(ids).lower() == "hello a hello"
