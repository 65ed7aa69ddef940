"""Greedy search: the likeliest token of every step."""

import pytest

from cuelight.server.text.transduction.greedy import GreedySearch
from tests.server.text.transduction.language import END, START, Language, searched


@pytest.mark.parametrize("seed", range(20))
def test_each_token_is_the_likeliest_after_those_before_it(seed: int) -> None:
    language = Language(5, seed)
    search = GreedySearch(START, END, 30)

    searched(search, language)

    (found,) = search.best()
    numbers = tuple(token.number for token in found.tokens)
    steps = [language.after(numbers[:place]) for place in range(len(numbers) + 1)]
    assert [int(step.argmax()) for step in steps] == [*numbers, END]
    assert [token.log_probability for token in found.tokens] == [float(step.max()) for step in steps[:-1]]
    assert found.score == pytest.approx(sum(float(step.max()) for step in steps))
    assert found.complete


def test_the_longest_output_is_a_limit() -> None:
    language = Language(5, 3)
    whole = GreedySearch(START, END, 30)
    searched(whole, language)
    tokens = whole.best()[0].tokens
    assert len(tokens) > 2

    cut = GreedySearch(START, END, 2)
    searched(cut, language)

    (found,) = cut.best()
    assert [token.number for token in found.tokens] == [token.number for token in tokens[:2]]
    assert not found.complete
    assert found.score == pytest.approx(sum(token.log_probability for token in tokens[:2]))


def test_every_token_is_settled_at_once_and_keeps_where_it_looked() -> None:
    search = GreedySearch(START, END, 30)

    settled = searched(search, Language(5, 3))

    tokens = search.best()[0].tokens
    numbers = [token.number for token in tokens]
    assert settled == [numbers[: step + 1] for step in range(len(numbers))] + [numbers]
    for place, token in enumerate(tokens):
        assert token.attention is not None
        assert token.attention.tolist() == [place, sum(numbers[:place])]
