"""Hypotheses from sequences of tokens."""

import math

import pytest

from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.hypotheses import hypotheses_of
from cuelight.server.speech.decoding.tokens import TokenTable
from cuelight.server.speech.results import Hypothesis

TOKENS = TokenTable({0: "<blk>", 1: "▁the", 2: "▁cat", 3: "▁ca", 4: "t", 5: "▁hat"}, blank=0)
SEQUENCES = [
    Decoded((1, 2), (0, 5), (math.log(0.9), math.log(0.4)), -1.0),
    Decoded((1, 3, 4), (0, 5, 6), (math.log(0.9), math.log(0.3), math.log(0.2)), -1.5),
    Decoded((1, 5), (0, 5), (math.log(0.9), math.log(0.1)), -2.0),
]


def test_sequences_that_spell_the_same_are_one_hypothesis() -> None:
    found = hypotheses_of(SEQUENCES, TOKENS, 0.04, count=3)

    assert [hypothesis.text for hypothesis in found] == ["the cat", "the hat"]
    assert [hypothesis.confidence for hypothesis in found] == pytest.approx([0.6, 0.3])


def test_no_more_are_told_than_were_asked_for() -> None:
    [best] = hypotheses_of(SEQUENCES, TOKENS, 0.04, offset_s=1.0)

    assert [word.text for word in best.words] == ["the", "cat"]
    assert [(word.start_s, word.end_s, word.confidence) for word in best.words] == [
        pytest.approx((1.0, 1.12, 0.9)),
        pytest.approx((1.2, 1.32, 0.4)),
    ]


def test_words_are_left_out_where_nobody_wants_them() -> None:
    assert hypotheses_of(SEQUENCES, TOKENS, 0.04, word_times=False)[0].words == ()


@pytest.mark.parametrize("sequences", [[], [Decoded()]])
def test_nothing_said_is_an_empty_hypothesis(sequences: list[Decoded]) -> None:
    assert hypotheses_of(sequences, TOKENS, 0.04) == (Hypothesis(""),)
