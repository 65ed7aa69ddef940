"""Greedy CTC search: the path's tokens, times and trailing blanks, however the frames are cut."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cuelight.server.speech.decoding.ctc_greedy import CtcGreedySearch
from cuelight.server.speech.decoding.decoded import Decoded

BLANK = 3
VOCAB = 4


def path(symbols: list[int], peak: float = 0.7) -> NDArray[np.float32]:
    """Return log-probabilities (frames, VOCAB) of which `symbols` are the likeliest, each `peak`."""
    probs = np.full((len(symbols), VOCAB), (1 - peak) / (VOCAB - 1))
    probs[np.arange(len(symbols)), symbols] = peak
    return np.asarray(np.log(probs), np.float32)


def decode(*chunks: NDArray[np.float32]) -> CtcGreedySearch:
    search = CtcGreedySearch(BLANK)
    for chunk in chunks:
        search.advance(chunk)
    return search


@pytest.mark.parametrize(
    ("symbols", "ids", "frames", "trailing"),
    [
        ([], (), (), 0),
        ([3, 3], (), (), 2),
        ([0, 0, 1], (0, 1), (0, 2), 0),
        ([0, 3, 0], (0, 0), (0, 2), 0),
        ([3, 2, 2, 3, 3, 2, 0, 3], (2, 2, 0), (1, 5, 6), 1),
        ([1, 1, 1, 3], (1,), (0,), 1),
    ],
)
def test_repeats_and_blanks_are_left_out(
    symbols: list[int], ids: tuple[int, ...], frames: tuple[int, ...], trailing: int
) -> None:
    search = decode(path(symbols))

    [best] = search.best(1)
    assert (best.ids, best.frames, search.trailing_blank_frames) == (ids, frames, trailing)
    assert search.frames == len(symbols)
    assert search.decoded_anything == bool(ids)
    assert search.chunk_speech == [symbol != BLANK for symbol in symbols]


def collapsed(symbols: list[int]) -> list[tuple[int, int]]:
    """Return the definition: (symbol, frame) where a symbol that is not the blank differs from the one before."""
    return [
        (symbol, frame)
        for frame, symbol in enumerate(symbols)
        if symbol != BLANK and (frame == 0 or symbols[frame - 1] != symbol)
    ]


@settings(deadline=None)
@given(st.lists(st.integers(0, VOCAB - 1), max_size=30), st.data())
def test_it_does_not_matter_where_the_chunks_end(symbols: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(symbols)))
    log_probs = path(symbols)

    search = decode(log_probs[:cut], log_probs[cut:])

    [best] = search.best(1)
    assert list(zip(best.ids, best.frames, strict=True)) == collapsed(symbols)
    assert best.score == pytest.approx(len(symbols) * np.log(0.7), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), st.data())
def test_a_restored_search_goes_on_as_if_nothing_had_happened(symbols: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(symbols)))
    log_probs = path(symbols)
    restored = CtcGreedySearch(BLANK)

    restored.restore(json.loads(json.dumps(decode(log_probs[:cut]).snapshot())))
    restored.advance(log_probs[cut:])

    whole = decode(log_probs)
    assert restored.best(1) == whole.best(1)
    assert restored.trailing_blank_frames == whole.trailing_blank_frames


def test_a_token_is_as_likely_as_the_likeliest_of_its_frames() -> None:
    search = decode(path([1], peak=0.5), path([1], peak=0.9), path([1, 3, 2], peak=0.6))

    [best] = search.best(1)
    assert np.exp(best.log_probs) == pytest.approx([0.9, 0.6], abs=1e-6)


def test_a_reset_search_is_a_new_one() -> None:
    search = decode(path([1, 2, 2]))

    search.reset()

    assert search.best(1) == [Decoded()]
    search.advance(path([2]))
    assert search.best(1)[0].ids == (2,), "what the last utterance ended with is no repeat in this one"
