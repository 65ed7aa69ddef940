"""The text of an utterance that grows is the text of all its tokens."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.speech.decoding import RunningText, TokenTable
from tests.server.speech.decoding.test_tokens import BYTES, IN_BYTES, LETTERS, PIECES, SYMBOLS, read


@pytest.fixture(
    scope="module",
    params=[LETTERS, PIECES, BYTES, IN_BYTES, SYMBOLS],
    ids=("letters", "pieces", "bytes", "in bytes", "symbols"),
)
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TokenTable:
    return read(tmp_path_factory.mktemp("tokens"), request.param)


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_it_is_that_of_all_tokens(table: TokenTable, data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.integers(0, min(table.size, 40) - 1), max_size=120))
    running = RunningText(table)
    count = 0
    while count < len(tokens):
        count += data.draw(st.integers(1, 6))
        assert running.of(tokens[:count]) == table.text(tokens[:count])


def test_a_search_may_change_its_mind(tmp_path: Path) -> None:
    table = read(tmp_path, PIECES)
    running = RunningText(table)
    first, second = [4, 5, 6, 7] * 10, [7, 4, 5, 6] * 10

    assert [running.of(tokens) for tokens in (first, second, second[:3], [])] == [
        table.text(tokens) for tokens in (first, second, second[:3], [])
    ]


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_it_is_that_of_all_tokens_whatever_changes(table: TokenTable, data: st.DataObject) -> None:
    running = RunningText(table)
    ids = st.lists(st.integers(0, min(table.size, 40) - 1), max_size=12)
    tokens: list[int] = []
    for kept in data.draw(st.lists(st.integers(0, 20), max_size=12)):
        tokens = [*tokens[:kept], *data.draw(ids)]
        assert running.of(tokens) == table.text(tokens)


def test_a_word_that_was_the_last_but_one_may_turn_out_to_go_on(tmp_path: Path) -> None:
    running = RunningText(read(tmp_path, PIECES))
    he, llo, world = 4, (5, 6), 7

    assert running.of([he, world]) == "HE WORLD"
    assert running.of([he, *llo]) == "HELLO"
