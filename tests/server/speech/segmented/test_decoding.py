"""Drafts, limits and loops of one decode. A vocabulary of six, whose logits say plainly what comes next."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.server.speech.segmented.decoding import Decode, longest_tokens, repeats
from cuelight.server.speech.segmented.moonshine import END

VOCABULARY = 6


def wanting(*tokens: int) -> NDArray[np.float32]:
    """Return logits (tokens, vocabulary) whose best is each of the tokens in turn."""
    return np.float32(20) * np.eye(VOCABULARY, dtype=np.float32)[list(tokens)]


@pytest.mark.parametrize(
    ("draft", "forced", "chosen", "held", "tokens"),
    [
        ((), 0, (3,), 0, [3]),
        ((3, 4), 0, (3, 4, 5), 2, [3, 4, 5]),
        ((3, 4), 0, (3, 5, 0), 1, [3, 5]),
        ((3, 4), 0, (5, 4, 0), 0, [5]),
        ((3, 4), 1, (5, 4, 3), 2, [3, 4, 3]),
        ((3, 4), 2, (5, 5, 5), 2, [3, 4, 5]),
        ((3, 4), 0, (3, END, 0), 1, [3]),
    ],
)
def test_a_draft_holds_as_far_as_the_decoder_agrees_or_is_made_to(
    draft: tuple[int, ...], forced: int, chosen: tuple[int, ...], held: int, tokens: list[int]
) -> None:
    decode = Decode(draft, forced, limit=10)

    assert decode.verify(wanting(*chosen)) == held
    assert decode.tokens == tokens
    assert decode.done == (END in chosen[: held + 1])


def test_a_decode_ends_at_its_limit() -> None:
    decode = Decode((), 0, limit=2)

    decode.verify(wanting(3))
    assert not decode.done
    decode.choose(wanting(4)[0])

    assert decode.done


def test_confidence_is_the_mean_probability_of_a_token() -> None:
    decode = Decode((), 0, limit=2)

    decode.verify(np.zeros((1, VOCABULARY), np.float32))

    assert decode.transcript().confidence == pytest.approx(1 / VOCABULARY)


@pytest.mark.parametrize(
    ("tokens", "surplus"),
    [
        ([1, 2, 3], 0),
        ([5, 5, 5, 5], 0),
        ([5] * 8, 7),
        ([9, 1, 2, 3, 1, 2, 3], 0),
        ([9, 1, 2, 3, 1, 2, 3, 1, 2, 3], 6),
        ([1, 2] * 8, 14),
    ],
)
def test_a_loop_is_known_by_its_repetitions(tokens: list[int], surplus: int) -> None:
    assert repeats(tokens) == surplus


def test_a_loop_ends_a_decode_and_is_said_once() -> None:
    decode = Decode((), 0, limit=50)
    decode.verify(wanting(1))

    for token in [3, 4, 5] * 3:
        decode.choose(wanting(token)[0])

    assert decode.done
    assert decode.transcript().tokens == (1, 3, 4, 5)


@pytest.mark.parametrize(("duration_s", "tokens"), [(0.0, 8), (1.0, 15), (10.0, 73)])
def test_longer_audio_may_give_more_tokens(duration_s: float, tokens: int) -> None:
    assert longest_tokens(duration_s) == tokens
