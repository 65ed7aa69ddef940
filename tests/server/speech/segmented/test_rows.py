"""Rows of different lengths in one batch: each keeps its own tokens and states, and what is not there is masked."""

import numpy as np

from cuelight.server.speech.segmented.rows import Rows

HEADS, WIDTH, STATE_WIDTH = 2, 3, 5


def row(value: float, length: int, count: int) -> Rows:
    """Return one row: tokens numbered from `value` on, states that are all `value`."""
    tokens = value + np.arange(length, dtype=np.float32)
    past = np.broadcast_to(tokens[np.newaxis, np.newaxis, :, np.newaxis], (1, HEADS, length, WIDTH)).copy()
    states = np.full((1, count, STATE_WIDTH), value, np.float32)
    return Rows([past, past + np.float32(0.5)], states, states.transpose(0, 2, 1), [length], [count])


def seen(rows: Rows, at: int) -> tuple[list[float], float]:
    """Return the tokens that a row sees of its past, and the sum of the states that it sees."""
    tokens = rows.step_bias()[at, 0, 0, :-1] == 0
    states = rows.state_bias()[at, 0] == 0
    assert not rows.keys[at][:, ~states].any()
    return rows.past[0][at, 0, tokens, 0].tolist(), float(rows.states[at, states].sum())


def test_a_shorter_row_sees_its_own_past_and_states_alone() -> None:
    rows = Rows.gathered([(row(10, 2, 4), [0]), (row(20, 5, 1), [0])])

    assert seen(rows, 0) == ([10, 11], 10 * 4 * STATE_WIDTH)
    assert seen(rows, 1) == ([20, 21, 22, 23, 24], 20 * STATE_WIDTH)


def test_every_row_sees_the_token_that_it_consumes() -> None:
    rows = Rows.gathered([(row(10, 2, 4), [0]), (row(20, 5, 1), [0])])

    assert (rows.step_bias()[:, 0, 0, -1] == 0).all()


def test_those_that_stay_take_no_more_room_than_they_need() -> None:
    rows = Rows.gathered([(row(10, 2, 4), [0]), (row(20, 5, 9), [0]), (row(30, 3, 2), [0])])

    rest = Rows.gathered([(rows, [2, 0])])

    assert (rest.past[0].shape[2], rest.states.shape[1], rest.keys.shape[2]) == (3, 4, 4)
    assert seen(rest, 0) == ([30, 31, 32], 30 * 2 * STATE_WIDTH)
    assert seen(rest, 1) == ([10, 11], 10 * 4 * STATE_WIDTH)


def test_what_does_not_hold_of_a_draft_is_forgotten() -> None:
    rows = row(10, 5, 4)

    rows.truncate(2)

    assert seen(rows, 0)[0] == [10, 11]
    assert rows.lengths == [2]
