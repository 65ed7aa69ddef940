"""The graph of phrases: what tokens earn, keep and give back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.speech.decoding.phrases import ROOT, PhraseGraph

WORDS = ("S", "HE", "SHE", "SHELL", "HIS", "HERS", "HELLO", "THIS", "THEM")
"""The phrases, queries and sums below are those of sherpa-onnx's context-graph-test.cc."""


def graph_of(score: float) -> PhraseGraph:
    return PhraseGraph((word.encode(), round(score / len(word), 2) if score else 1.0) for word in WORDS)


def total(graph: PhraseGraph, text: str, strict: bool) -> float:
    state, earned = ROOT, 0.0
    for token in text.encode():
        score, state = graph.step(state, token, strict)
        earned += score
    return earned + graph.finish(state)


@pytest.mark.parametrize(
    ("text", "strict", "loose"),
    [
        ("HEHERSHE", 14, 7),
        ("HERSHE", 12, 5),
        ("HISHE", 9, 5),
        ("SHED", 6, 3),
        ("SHELF", 6, 3),
        ("HELL", 2, 2),
        ("HELLO", 7, 2),
        ("DHRHISQ", 4, 3),
        ("THEN", 2, 2),
    ],
)
def test_a_boost_of_one_for_each_token(text: str, strict: float, loose: float) -> None:
    graph = graph_of(0)

    assert total(graph, text, strict=True) == pytest.approx(strict)
    assert total(graph, text, strict=False) == pytest.approx(loose)


@pytest.mark.parametrize(
    ("text", "strict", "loose"),
    [
        ("HEHERSHE", 35.84, 20),
        ("HERSHE", 30.84, 15),
        ("HISHE", 24.18, 10.84),
        ("SHED", 18.34, 10),
        ("SHELF", 18.34, 10),
        ("HELL", 5, 5),
        ("HELLO", 13, 5),
        ("DHRHISQ", 10.84, 5.84),
        ("THEN", 5, 5),
    ],
)
def test_a_boost_of_its_own_for_each_phrase(text: str, strict: float, loose: float) -> None:
    graph = graph_of(5)

    assert total(graph, text, strict=True) == pytest.approx(strict, abs=1e-5)
    assert total(graph, text, strict=False) == pytest.approx(loose, abs=1e-5)


def test_a_phrase_that_is_left_gives_its_boost_back() -> None:
    graph = PhraseGraph([((1, 2, 3), 2.0)])

    first, state = graph.step(ROOT, 1)
    second, state = graph.step(state, 2)
    back, state = graph.step(state, 9)

    assert (first, second, back, state) == (2.0, 2.0, -4.0, ROOT)


def test_the_end_of_a_lost_phrase_may_begin_another_one() -> None:
    graph = PhraseGraph([((1, 2, 3), 2.0), ((2, 4), 0.5)])

    _, state = graph.step(ROOT, 1)
    _, state = graph.step(state, 2)
    back, state = graph.step(state, 4)

    assert back == -4.0 + 2 * 0.5
    assert (state, graph.finish(state)) == (ROOT, 0.0), "a whole phrase keeps what it earned"


def test_a_graph_without_phrases_changes_nothing() -> None:
    assert PhraseGraph([]).step(ROOT, 5) == (0.0, ROOT)
    assert len(PhraseGraph([((), 3.0)])) == 1


PHRASES = st.lists(st.tuples(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.just(1.0)), max_size=5)


@settings(deadline=None)
@given(PHRASES, st.lists(st.integers(1, 4), max_size=12))
def test_a_text_earns_what_the_phrases_in_it_are_worth(
    phrases: list[tuple[list[int], float]], tokens: list[int]
) -> None:
    graph = PhraseGraph(phrases)
    distinct = {tuple(ids) for ids, _ in phrases}

    state, earned = ROOT, 0.0
    for token in tokens:
        score, state = graph.step(state, token, strict=True)
        earned += score

    occurrences = [
        len(ids)
        for ids in distinct
        for end in range(len(tokens) + 1)
        if end >= len(ids) and tuple(tokens[end - len(ids) : end]) == ids
    ]
    assert earned + graph.finish(state) == pytest.approx(sum(occurrences))


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.floats(-2.0, 3.0)), max_size=6))
def test_no_step_earns_more_than_the_bound_of_its_state(phrases: list[tuple[list[int], float]]) -> None:
    graph = PhraseGraph(phrases)

    for state in range(len(graph)):
        for token in range(5):
            assert graph.step(state, token)[0] <= graph.most_earned(state) + 1e-9
