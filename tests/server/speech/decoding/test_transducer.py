"""Transducer searches over many streams: what they say, and that streams do not mix."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.server.speech.decoding.transducer import GreedyState, greedy
from cuelight.server.speech.decoding.transducer_beam import BeamState, modified_beam
from tests.server.speech.decoding.scripted_transducer import CONTEXT, SYMBOLS, UNKNOWN, ScriptedTransducer

Floats = NDArray[np.float32]
SEARCHES = [
    pytest.param(lambda: GreedyState(CONTEXT, UNKNOWN), greedy, id="greedy"),
    pytest.param(lambda: BeamState(CONTEXT, UNKNOWN), modified_beam, id="modified_beam"),
]
MODEL = ScriptedTransducer.random(120, seed=1)


class Counting:
    """A scripted transducer that counts how often it is asked."""

    def __init__(self, model: ScriptedTransducer) -> None:
        self.model = model
        self.joined_rows: list[int] = []
        self.decoded_rows: list[int] = []

    def joiner(self, encoder_out: Floats, decoder_out: Floats) -> Floats:
        self.joined_rows.append(len(encoder_out))
        return self.model.joiner(encoder_out, decoder_out)

    def decoder(self, y: NDArray[np.int64]) -> Floats:
        self.decoded_rows.append(len(y))
        return self.model.decoder(y)


def silent_but(said: dict[int, int], frames: int) -> ScriptedTransducer:
    """Return a model that says the symbols of `said` by their frame, and a blank elsewhere, surely."""
    table = np.zeros((frames, len(SYMBOLS)), np.float32)
    table[:, 0] = 20
    for frame, symbol in said.items():
        table[frame, symbol] = 40
    return ScriptedTransducer(table, np.zeros((len(SYMBOLS) + 1, len(SYMBOLS)), np.float32))


@pytest.mark.parametrize(("new_state", "search"), SEARCHES)
def test_symbols_are_said_once_a_frame_and_the_unknown_is_silent(new_state: Any, search: Any) -> None:
    model = silent_but({1: 3, 2: 3, 5: UNKNOWN}, 8)
    state = new_state()

    search([state], model.table[np.newaxis, :4], model.joiner, model.decoder)
    first_chunk = state.chunk_speech
    search([state], model.table[np.newaxis, 4:], model.joiner, model.decoder)

    [best] = state.best(1)
    assert (best.ids, best.frames) == ((3, 3), (1, 2)), "a transducer says a symbol twice where it means it"
    assert best.log_probs == pytest.approx((0.0, 0.0), abs=1e-3)
    assert (state.frames, state.trailing_blank_frames) == (8, 5)
    assert (first_chunk, state.chunk_speech) == ([False, True, True, False], [False] * 4)


@pytest.mark.parametrize(("new_state", "search"), SEARCHES)
def test_streams_that_are_decoded_together_say_what_they_say_alone(new_state: Any, search: Any) -> None:
    tables = MODEL.table.reshape(5, 24, -1)
    together = [new_state() for _ in tables]
    alone = [new_state() for _ in tables]

    for start in range(0, 24, 4):
        search(together, tables[:, start : start + 4], MODEL.joiner, MODEL.decoder)
    for state, table in zip(alone, tables, strict=True):
        search([state], table[np.newaxis], MODEL.joiner, MODEL.decoder)

    for one, other in zip(together, alone, strict=True):
        assert one.best(4) == other.best(4)
        assert one.decoded_anything


@pytest.mark.parametrize(("new_state", "search"), SEARCHES)
def test_a_frame_costs_one_joiner_call_and_at_most_one_decoder_call(new_state: Any, search: Any) -> None:
    counting = Counting(MODEL)

    search([new_state() for _ in range(5)], MODEL.table.reshape(5, 24, -1), counting.joiner, counting.decoder)

    assert len(counting.joined_rows) == 24
    assert len(counting.decoded_rows) <= 24 + 1


@pytest.mark.parametrize(("new_state", "search"), SEARCHES)
def test_silence_asks_the_decoder_nothing_new(new_state: Any, search: Any) -> None:
    counting = Counting(silent_but({}, 1))
    states = [new_state(), new_state()]

    for _ in range(3):
        search(states, np.repeat(counting.model.table[np.newaxis], 2, 0), counting.joiner, counting.decoder)

    first, *later = counting.decoded_rows
    assert first == 2
    if search is greedy:
        assert later == []
    assert all(rows <= 2 * 3 for rows in later), "of a beam of 4, the hypothesis that stays silent is known"


@pytest.mark.parametrize(("new_state", "search"), SEARCHES)
@pytest.mark.parametrize("cut", [0, 1, 13, 24])
def test_a_restored_state_goes_on_as_if_nothing_had_happened(new_state: Any, search: Any, cut: int) -> None:
    table = MODEL.table[np.newaxis, :24]
    whole, before, after = new_state(), new_state(), new_state()

    search([whole], table, MODEL.joiner, MODEL.decoder)
    search([before], table[:, :cut], MODEL.joiner, MODEL.decoder)
    after.restore(json.loads(json.dumps(before.snapshot(), allow_nan=False)))
    search([after], table[:, cut:], MODEL.joiner, MODEL.decoder)

    assert after.best(4) == whole.best(4)
    assert (after.frames, after.trailing_blank_frames) == (whole.frames, whole.trailing_blank_frames)


@pytest.mark.parametrize(("new_state", "search"), SEARCHES)
def test_after_a_reset_frames_count_anew(new_state: Any, search: Any) -> None:
    model = silent_but({1: 3}, 4)
    state = new_state()
    search([state], model.table[np.newaxis], model.joiner, model.decoder)

    state.reset()

    assert (state.frames, state.trailing_blank_frames, state.decoded_anything) == (0, 0, False)
    search([state], model.table[np.newaxis], model.joiner, model.decoder)
    [best] = state.best(1)
    assert (best.ids, best.frames) == ((3,), (1,))


def test_greedy_goes_on_from_the_last_symbols_unless_nothing_was_said() -> None:
    model = silent_but({1: 3}, 4)
    state = GreedyState(CONTEXT)
    assert state.context == (-1, 0)
    greedy([state], model.table[np.newaxis], model.joiner, model.decoder)

    state.reset()
    assert state.context == (0, 3)

    state.reset()
    assert state.context == (-1, 0)


def by_enumeration(model: ScriptedTransducer, frames: int) -> dict[tuple[int, ...], float]:
    """Return each sequence's log-probability: the sum over every symbol of every frame."""
    totals: dict[tuple[int, ...], float] = {}
    for symbols in itertools.product(range(len(SYMBOLS)), repeat=frames):
        context, log_prob = [-1, 0], 0.0
        for frame, symbol in enumerate(symbols):
            decoder_out = model.decoder(np.array([context[-2:]]))
            logits = model.table[frame].astype(float) + decoder_out[0]
            log_prob += logits[symbol] - np.log(np.exp(logits).sum())
            if symbol not in (0, UNKNOWN):
                context.append(symbol)
        ids = tuple(context[2:])
        totals[ids] = totals.get(ids, 0.0) + math.exp(log_prob)
    return {ids: math.log(total) for ids, total in totals.items()}


@pytest.mark.parametrize("seed", range(2))
def test_a_beam_without_limits_finds_every_sequence_with_its_probability(seed: int) -> None:
    model = ScriptedTransducer.random(3, seed)
    expected = {ids: total / (len(ids) + CONTEXT) for ids, total in by_enumeration(model, 3).items()}
    state = BeamState(CONTEXT, UNKNOWN)

    modified_beam([state], model.table[np.newaxis], model.joiner, model.decoder, beam=10_000)

    found = {decoded.ids: decoded.score for decoded in state.best(10_000)}
    assert found == pytest.approx(expected, abs=1e-5)
