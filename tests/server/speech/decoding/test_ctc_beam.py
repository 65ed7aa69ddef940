"""Prefix beam search against all paths, one by one; and phrases that are boosted."""

import itertools
import json
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cuelight.server.speech.decoding.ctc_beam import CtcBeamSearch
from cuelight.server.speech.decoding.phrases import PhraseGraph

BLANK = 0
Ids = tuple[int, ...]


def random_log_probs(frames: int, vocab: int, seed: int, sharpness: float = 2.0) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(0, sharpness, (frames, vocab))
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)), np.float32)


def by_enumeration(log_probs: NDArray[np.float32]) -> dict[Ids, float]:
    """Return the log-probability of each sequence of tokens: the sum over all vocab ** frames paths that spell it."""
    totals: dict[Ids, float] = defaultdict(float)
    for symbols in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        ids = tuple(symbol for symbol, _ in itertools.groupby(symbols) if symbol != BLANK)
        totals[ids] += math.exp(sum(float(log_probs[frame, symbol]) for frame, symbol in enumerate(symbols)))
    return {ids: math.log(total) for ids, total in totals.items()}


def exhaustive(graph: PhraseGraph | None = None) -> CtcBeamSearch:
    """Return a search that throws nothing away."""
    return CtcBeamSearch(BLANK, beam=100_000, graph=graph, top_tokens=100, min_log_prob=-math.inf)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("frames", "vocab"), [(1, 3), (4, 3), (6, 3), (5, 4)])
def test_a_search_without_limits_finds_every_sequence_with_its_probability(frames: int, vocab: int, seed: int) -> None:
    log_probs = random_log_probs(frames, vocab, seed)
    expected = by_enumeration(log_probs)
    search = exhaustive()

    search.advance(log_probs[:2])
    search.advance(log_probs[2:])

    found = search.best(len(expected) + 1)
    assert {decoded.ids: decoded.score for decoded in found} == pytest.approx(expected, abs=1e-5)
    assert [decoded.score for decoded in found] == sorted((decoded.score for decoded in found), reverse=True)


@pytest.mark.parametrize("seed", range(10))
def test_a_beam_of_eight_finds_the_best_sequence(seed: int) -> None:
    log_probs = random_log_probs(6, 4, seed)
    expected = max(by_enumeration(log_probs).items(), key=lambda item: item[1])
    search = CtcBeamSearch(BLANK)

    search.advance(log_probs)

    assert search.best(1)[0].ids == expected[0]


def test_many_ways_to_say_one_thing_outweigh_the_single_best_path() -> None:
    log_probs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]], np.float32))
    search = exhaustive()

    search.advance(log_probs)

    best, second = search.best(2)
    assert (best.ids, second.ids) == ((1,), ()), "blank blank is 0.36, but a, aa and -a together are 0.64"
    assert np.exp([best.score, second.score]) == pytest.approx([0.64, 0.36], abs=1e-6)


def test_a_doubled_token_needs_a_blank_between() -> None:
    sure = np.full((3, 2), -20.0, np.float32)
    sure[[0, 1, 2], [1, 0, 1]] = 0.0
    search = CtcBeamSearch(BLANK)

    search.advance(sure)

    [best] = search.best(1)
    assert (best.ids, best.frames) == ((1, 1), (0, 2))


def test_tokens_are_timed_and_weighed_by_their_likeliest_way() -> None:
    probs = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    search = CtcBeamSearch(BLANK)

    search.advance(np.log(probs).astype(np.float32))

    [best] = search.best(1)
    assert (best.ids, best.frames) == ((1, 2), (1, 4))
    assert np.exp(best.log_probs) == pytest.approx([0.9, 0.8], abs=1e-6)


def test_trailing_blanks_are_those_of_the_likeliest_symbols() -> None:
    search = CtcBeamSearch(BLANK)

    search.advance(np.log(np.array([[0.1, 0.9], [0.9, 0.1], [0.8, 0.2]], np.float32)))

    assert (search.frames, search.trailing_blank_frames, search.chunk_speech) == (3, 2, [True, False, False])
    assert search.decoded_anything


def boost_of(ids: Ids, graph: PhraseGraph, final: bool = False) -> float:
    state, boost = 0, 0.0
    for token in ids:
        earned, state = graph.step(state, token)
        boost += earned
    return boost + graph.finish(state) if final else boost


@pytest.mark.parametrize("seed", range(5))
def test_boosts_are_added_to_what_the_model_says(seed: int) -> None:
    graph = PhraseGraph([((1, 2, 1), 1.5), ((2, 2), 0.5)])
    log_probs = random_log_probs(5, 3, seed)
    expected = {ids: total + boost_of(ids, graph, final=True) for ids, total in by_enumeration(log_probs).items()}
    search = exhaustive(graph)

    search.advance(log_probs)

    found = {decoded.ids: decoded.score for decoded in search.best(len(expected), final=True)}
    assert found == pytest.approx(expected, abs=1e-5)


def by_definition(log_probs: NDArray[np.float32], beam: int, graph: PhraseGraph) -> dict[Ids, float]:
    """Return what Hannun's algorithm 1 keeps, in probabilities, with nothing left out before its end."""
    kept: dict[Ids, tuple[float, float]] = {(): (1.0, 0.0)}
    for row in np.exp(log_probs.astype(float)):
        in_blank: dict[Ids, float] = defaultdict(float)
        in_token: dict[Ids, float] = defaultdict(float)
        for ids, (blank, token) in kept.items():
            in_blank[ids] += (blank + token) * row[BLANK]
            for symbol in range(1, len(row)):
                if ids[-1:] == (symbol,):
                    in_token[ids] += token * row[symbol]
                    in_token[(*ids, symbol)] += blank * row[symbol]
                else:
                    in_token[(*ids, symbol)] += (blank + token) * row[symbol]
        reached = {ids for ids in (*in_blank, *in_token) if in_blank[ids] + in_token[ids] > 0}
        scores = {ids: math.log(in_blank[ids] + in_token[ids]) + boost_of(ids, graph) for ids in reached}
        best = sorted(reached, key=lambda ids: -scores[ids])[:beam]
        kept = {ids: (in_blank[ids], in_token[ids]) for ids in best}
    return {ids: scores[ids] for ids in kept}


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.3, 4.0))
def test_what_is_never_made_would_not_have_been_kept(seed: int, beam: int, sharpness: float) -> None:
    graph = PhraseGraph([((1, 2, 1), 1.5), ((2, 3), 0.7), ((3,), 0.3)])
    log_probs = random_log_probs(8, 5, seed, sharpness)
    search = CtcBeamSearch(BLANK, beam, graph, top_tokens=100, min_log_prob=-math.inf)

    search.advance(log_probs)

    found = {decoded.ids: decoded.score for decoded in search.best(beam)}
    assert found == pytest.approx(by_definition(log_probs, beam, graph), abs=1e-6)


AMBIGUOUS = np.log(
    np.array(
        [
            [0.02, 0.96, 0.01, 0.01],
            [0.96, 0.02, 0.01, 0.01],
            [0.02, 0.01, 0.60, 0.37],
            [0.96, 0.02, 0.01, 0.01],
        ],
        np.float32,
    )
)
"""Surely 1, then 2 rather than 3."""


def test_a_phrase_that_is_boosted_wins_where_the_model_wavers() -> None:
    plain = CtcBeamSearch(BLANK)
    boosted = CtcBeamSearch(BLANK, graph=PhraseGraph([((1, 3), 1.5)]))

    for search in (plain, boosted):
        search.advance(AMBIGUOUS)

    assert plain.best(1)[0].ids == (1, 2)
    assert boosted.best(1, final=True)[0].ids == (1, 3)
    assert np.exp(boosted.best(1)[0].log_probs) == pytest.approx([0.96, 0.37]), "confidence knows no boost"


def test_a_phrase_that_is_only_begun_gains_nothing_in_the_end() -> None:
    search = CtcBeamSearch(BLANK, graph=PhraseGraph([((1, 3, 9), 1.5)]))

    search.advance(AMBIGUOUS)

    assert search.best(1)[0].ids == (1, 3), "while it may still come, the phrase is ahead"
    assert search.best(1, final=True)[0].ids == (1, 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12), st.integers(0, 1000))
def test_a_restored_search_goes_on_as_if_nothing_had_happened(cut: int, seed: int) -> None:
    graph = PhraseGraph([((1, 2, 1), 1.5)])
    log_probs = random_log_probs(12, 4, seed)
    log_probs[3] = [0.0, -np.inf, -np.inf, -np.inf]
    whole, before, after = (CtcBeamSearch(BLANK, graph=graph) for _ in range(3))

    whole.advance(log_probs)
    before.advance(log_probs[:cut])
    after.restore(json.loads(json.dumps(before.snapshot(), allow_nan=False)))
    after.advance(log_probs[cut:])

    assert after.best(8) == whole.best(8)
    assert (after.frames, after.trailing_blank_frames) == (whole.frames, whole.trailing_blank_frames)
