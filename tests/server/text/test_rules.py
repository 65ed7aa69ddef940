"""The pure parts: what is near, what is compared, places in texts, numbers in messages."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuelight.server.config import TextConfig
from cuelight.server.errors import InvalidRequest, NotFound, Unsupported
from cuelight.server.text.attention import attention_choice, without_attention
from cuelight.server.text.floats import put_floats
from cuelight.server.text.offsets import OffsetTable
from cuelight.server.text.reading import Reading, read_texts
from cuelight.server.text.similarity import compared, named_texts, sizes_of
from cuelight.server.text.texts import check_call, check_text
from cuelight.server.text.tokenizer import EncodedText
from cuelight.server.text.words import WordQuery, WordTable
from cuelight.server.text.work_pool import WorkPool
from cuelight.text.v1 import text_pb2 as pb
from tests.server.text.text_models import TABLE, TABLE_WORDS

LIMITS = TextConfig(max_texts=3, max_text_bytes=8, max_call_bytes=12)


@pytest.fixture
def table() -> WordTable:
    return WordTable(TABLE_WORDS, TABLE, lowercase=True)


def near(table: WordTable, plus: list[str], minus: list[str], count: int = 10) -> list[tuple[str, float]]:
    target, own = table.target(WordQuery(plus, minus, "queries[0]"), "m")
    [words] = table.nearest(target[np.newaxis], [own], count)
    return [(word.word, word.similarity) for word in words]


def test_near_words_come_by_cosine_and_the_querys_own_are_left_out(table: WordTable) -> None:
    found = near(table, ["east"], [])

    assert [word for word, _ in found] == ["northeast", "north", "nothing", "west"]
    assert [cosine for _, cosine in found] == pytest.approx([np.sqrt(0.5), 0, 0, -1], abs=1e-6)


def test_words_add_up_by_direction_not_by_length(table: WordTable) -> None:
    [(word, cosine)] = near(table, ["east", "north"], [], count=1)

    assert word == "northeast"
    assert cosine == pytest.approx(1.0)


def test_words_are_taken_away(table: WordTable) -> None:
    assert near(table, ["northeast"], ["north", "west"], count=1)[0][0] == "east"


def test_upper_case_finds_lower_case_where_the_vocabulary_has_no_other(table: WordTable) -> None:
    assert near(table, ["East"], []) == near(table, ["east"], [])
    assert WordTable(["East", "east"], TABLE[:2], lowercase=True).row("East") == 0


def test_words_that_cancel_out_have_no_direction(table: WordTable) -> None:
    with pytest.raises(InvalidRequest, match=r"queries\[0\]: its words cancel out"):
        near(table, ["east", "west"], [])


def test_a_word_that_is_not_there_is_named(table: WordTable) -> None:
    with pytest.raises(NotFound, match=r'queries\[0\].minus\[1\]: no word "south" among the 5 of model "m"'):
        near(table, ["east"], ["north", "south"])


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_nearest_equals_sorting_every_cosine(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (50, 3)).astype(np.float32)  # many ties, and words of length 0
    vectors[0] = 1
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    cosines = vectors @ np.ones(3) / np.where(lengths > 0, lengths * np.sqrt(3), 1)
    cosines[0] = -np.inf

    found = near(WordTable([f"w{row}" for row in range(50)], vectors), ["w0"], [], count)

    assert len(found) == min(count, 49)
    assert [cosine for _, cosine in found] == pytest.approx(np.sort(cosines)[::-1][: len(found)].tolist(), abs=1e-6)
    assert len({word for word, _ in found} - {"w0"}) == len(found)


TEXTS = "aé€😀 z"


@pytest.mark.parametrize(
    ("unit", "encoding", "size"),
    [(pb.UTF8_BYTES, "utf-8", 1), (pb.UTF16_UNITS, "utf-16-le", 2), (pb.CODE_POINTS, "utf-32-le", 4)],
)
def test_offsets_count_what_the_language_counts(unit: pb.OffsetUnit.ValueType, encoding: str, size: int) -> None:
    table = OffsetTable(TEXTS, unit)

    places = [table[place] for place in range(len(TEXTS) + 1)]

    assert places == [len(TEXTS[:place].encode(encoding)) // size for place in range(len(TEXTS) + 1)]


def test_an_unknown_unit_is_refused() -> None:
    unit: Any = 9
    with pytest.raises(InvalidRequest, match="offset_unit: got 9, expected one of CODE_POINTS"):
        OffsetTable("a", unit)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 5000])
def test_numbers_are_put_as_extend_puts_them(count: int) -> None:
    values = np.random.default_rng(count).standard_normal((count, 2)).astype(np.float32)
    quick, plain = pb.Embedding(token_count=7), pb.Embedding(token_count=7)

    put_floats(quick, "values", values[:, 0])
    plain.values.extend(values[:, 0].tolist())

    assert quick == plain
    assert len(quick.values) == count


def test_pairs_and_matrices_are_numbered_alike() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], np.float32)
    pairs = pb.SimilarityRequest(pairs=[pb.TextPair(first="a", second="b"), pb.TextPair(first="c", second="d")])
    matrix = pb.SimilarityRequest(texts=["a"], others=["b", "c", "d"])
    square = pb.SimilarityRequest(texts=["a", "b", "c"])

    assert [name for name, _ in named_texts(pairs)] == [
        "pairs[0].first", "pairs[0].second", "pairs[1].first", "pairs[1].second",
    ]  # fmt: skip
    assert [name for name, _ in named_texts(matrix)] == ["texts[0]", "others[0]", "others[1]", "others[2]"]
    assert (sizes_of(pairs), sizes_of(matrix), sizes_of(square)) == ((2, 1), (1, 3), (3, 3))
    np.testing.assert_allclose(compared(pairs, vectors), [[0.0], [0.6]], atol=1e-7)
    np.testing.assert_allclose(compared(matrix, vectors), [[0.0, 0.6, 1.0]], atol=1e-7)
    np.testing.assert_allclose(
        compared(square, vectors[:3]), [[1.0, 0.0, 0.6], [0.0, 1.0, 0.8], [0.6, 0.8, 1.0]], atol=1e-6
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a text, got an empty one"),
        (" \n\t", "expected a text, got nothing but white space"),
        ("123456789", "expected at most 8 bytes, got 9"),
        ("ééééé", "expected at most 8 bytes, got 10"),
    ],
)
def test_what_is_no_text_is_said(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"texts\\[4\\]: {said}"):
        check_text(text, "texts[4]", LIMITS)


def test_a_text_of_just_the_limit_is_one() -> None:
    check_text("éééé", "t", LIMITS)
    check_text("12345678", "t", LIMITS)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "at least one text, got none"),
        (["a"] * 4, "at most 3 in a call, got 4"),
        (["éé", "12345678", "9"], "at most 12 bytes in a call, got 13"),
    ],
)
def test_a_call_holds_so_many_texts(texts: list[str], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        check_call(texts, LIMITS)


def encoder(gives: bool = True) -> Any:
    return SimpleNamespace(gives_attention=gives, layers=3, heads=2)


def test_attention_is_picked_by_layer_and_averaged_over_heads() -> None:
    weights = np.arange(3 * 2 * 4, dtype=np.float32).reshape(3, 2, 2, 2)
    some = attention_choice(pb.AttentionOptions(layers=[2, 0]), encoder(), "m", [])
    mean = attention_choice(pb.AttentionOptions(mean_over_heads=True), encoder(), "m", [])

    outputs = {"embedding": weights[0, 0, 0], "attention": weights}
    np.testing.assert_array_equal(some.kept(outputs)["attention"], weights[[2, 0]])
    np.testing.assert_array_equal(mean.kept(outputs)["attention"], weights.mean(1, keepdims=True))
    assert list(without_attention(outputs)) == ["embedding"]
    with pytest.raises(InvalidRequest, match="at most 1000000 weights in a call, got 1000188"):
        some.check([500, 5, 4, 2, 1, 1])


def test_more_layers_than_there_are_are_refused_before_they_are_looked_at() -> None:
    encoder: Any = SimpleNamespace(gives_attention=True, layers=3, heads=2)

    with pytest.raises(InvalidRequest, match=r"attention.layers: expected at most 3, got 4"):
        attention_choice(pb.AttentionOptions(layers=[0, 1, 2, 9]), encoder, "m", [])


def test_a_text_that_a_tokenizer_makes_nothing_of_is_named() -> None:
    def encode(texts: list[str], most: int) -> list[EncodedText]:
        return [EncodedText([], 0) if text == "\u200b" else EncodedText([7], 1) for text in texts]

    encoder: Any = SimpleNamespace(tokenizer=SimpleNamespace(encode=encode), max_tokens=8)

    async def scenario() -> Reading:
        pool = WorkPool(1)
        named = [("texts[0]", "one"), ("texts[1]", "\u200b")]
        reading = await read_texts(named, encoder, pb.TRUNCATE, pool, TextConfig())
        pool.close()
        return reading

    reading = asyncio.run(scenario())

    assert list(reading.texts) == [0]
    assert str(reading.errors[1]) == "texts[1]: expected a text with tokens, got one without"


@pytest.mark.parametrize(
    ("layers", "said"), [([3], r"layers\[0\]: expected 0 to 2, got 3"), ([1, 1], r"layers\[1\]: layer 1 came before")]
)
def test_a_layer_that_is_not_there_is_refused(layers: list[int], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        attention_choice(pb.AttentionOptions(layers=layers), encoder(), "m", [])


def test_a_model_without_attention_names_one_with() -> None:
    with pytest.raises(Unsupported, match='model "m" gives none; there are n'):
        attention_choice(pb.AttentionOptions(), encoder(gives=False), "m", ["n"])
