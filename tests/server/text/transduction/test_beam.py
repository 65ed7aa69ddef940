"""Beam search against every output there is, on vocabularies so small that they can be listed."""

import math
from itertools import pairwise

import pytest

from cuelight.server.text.transduction.beam import BeamSearch
from cuelight.server.text.transduction.greedy import GreedySearch
from cuelight.server.text.transduction.search import Hypothesis
from tests.server.text.transduction.language import END, START, Language, searched

WIDE = 400
"""More than the beginnings of any length in these languages: nothing is ever dropped."""


def numbers(one: Hypothesis) -> tuple[int, ...]:
    return tuple(token.number for token in one.tokens)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize(("size", "max_tokens"), [(3, 6), (4, 4)])
def test_a_wide_beam_finds_the_best_of_all_outputs_in_their_order(
    seed: int, penalty: float, size: int, max_tokens: int
) -> None:
    language = Language(size, seed)
    search = BeamSearch(START, END, max_tokens, WIDE, penalty)

    searched(search, language)

    scores = language.outputs(max_tokens)
    ranked = sorted(scores, key=lambda tokens: -scores[tokens] / (len(tokens) + 1) ** penalty)
    found = [one for one in search.best() if one.complete]
    assert [numbers(one) for one in found] == ranked[: len(found)]
    assert len(found) == len(ranked)
    for one in found:
        assert one.score == pytest.approx(scores[numbers(one)], abs=1e-5)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_narrow_beam_is_the_plain_algorithm(seed: int, width: int) -> None:
    language = Language(4, seed)
    search = BeamSearch(START, END, 7, width)

    searched(search, language)

    assert [(numbers(one), one.complete) for one in search.best()] == plain_beam(language, 7, width)


def plain_beam(language: Language, max_tokens: int, width: int) -> list[tuple[tuple[int, ...], bool]]:
    """Beam search as it is written down, to the longest output, without stopping early."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    found: list[tuple[float, tuple[int, ...]]] = []
    for _ in range(max_tokens):
        every = [
            (score + float(log_prob), (*tokens, token))
            for score, tokens in live
            for token, log_prob in enumerate(language.after(tokens))
        ]
        every.sort(key=lambda one: -one[0])
        found += [(score, tokens[:-1]) for score, tokens in every[:width] if tokens[-1] == END]
        live = [(score, tokens) for score, tokens in every if tokens[-1] != END][:width]
    best = sorted(found, key=lambda one: -one[0])[:width]
    return [(tokens, True) for _, tokens in best] + [(tokens, False) for _, tokens in live][: width - len(best)]


@pytest.mark.parametrize("seed", range(20))
def test_a_beam_of_one_is_greedy(seed: int) -> None:
    beam, greedy = BeamSearch(START, END, 12, 1), GreedySearch(START, END, 12)

    searched(beam, Language(5, seed))
    searched(greedy, Language(5, seed))

    (one,), (other,) = beam.best(), greedy.best()
    assert (numbers(one), one.complete) == (numbers(other), other.complete)
    assert one.score == pytest.approx(other.score)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_settled_is_the_beginning_of_the_best_and_is_never_taken_back(seed: int) -> None:
    search = BeamSearch(START, END, 10, 4, 0.6)

    settled = searched(search, Language(6, seed))

    best = list(numbers(search.best()[0]))
    assert settled[-1] == best
    for before, after in pairwise(settled):
        assert after[: len(before)] == before


def test_tokens_keep_their_own_probability_and_where_they_looked() -> None:
    language = Language(5, 8)
    search = BeamSearch(START, END, 10, 3)

    searched(search, language)

    for one in search.best():
        for place, token in enumerate(one.tokens):
            before = numbers(one)[:place]
            assert token.log_probability == float(language.after(before)[token.number])
            assert token.attention is not None
            assert token.attention.tolist() == [place, sum(before)]


def test_it_stops_once_nothing_better_can_come() -> None:
    class Short(Language):
        """The end is all but certain after any first token."""

        def after(self, beginning):  # type: ignore[no-untyped-def]
            log_probs = super().after(beginning) - 20
            log_probs[END] = math.log(0.99) if beginning else -20
            return log_probs

    search = BeamSearch(START, END, 1000, 2)

    steps = len(searched(search, Short(3, 1)))

    assert steps < 5
    assert all(one.complete for one in search.best())
