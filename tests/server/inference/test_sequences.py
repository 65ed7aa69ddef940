"""Whose sequence is it, when does it end, and how many may live."""

import pytest

from cuelight.server.errors import Overloaded, SequenceNotActive
from cuelight.server.inference.sequences import Owner, SequenceTable


def table(lanes: int = 1, capacity: int = 3) -> SequenceTable:
    return SequenceTable("m", None, lanes, capacity)


def test_a_sequence_is_found_until_it_is_closed() -> None:
    sequences = table()
    started = sequences.start(7, None)

    assert sequences.find(7, None) is started
    sequences.close(started)

    with pytest.raises(SequenceNotActive, match="sequence 7 is not active"):
        sequences.find(7, None)


def test_the_number_7_and_the_text_7_are_two_sequences() -> None:
    sequences = table()

    assert sequences.start(7, None) is not sequences.start("7", None)
    assert sequences.live == 2


def test_a_stream_s_sequence_is_its_own() -> None:
    sequences, ours, theirs = table(), Owner(), Owner()
    started = sequences.start("a", ours)

    assert sequences.find("a", ours) is started
    for other in (theirs, None):
        with pytest.raises(SequenceNotActive, match="'a' belongs to another stream"):
            sequences.find("a", other)


def test_a_sequence_begun_by_a_call_may_be_stepped_from_a_stream() -> None:
    sequences = table()
    started = sequences.start("a", None)

    assert sequences.find("a", Owner()) is started


def test_a_closed_sequence_keeps_its_place_until_it_is_forgotten() -> None:
    sequences = table(capacity=1)
    started = sequences.start(1, None)
    sequences.close(started)

    with pytest.raises(Overloaded, match="1 sequences are alive, which is as many as it holds; sequence 2") as refused:
        sequences.start(2, None)
    sequences.forget(started)

    assert sequences.start(2, None).id == 2
    assert refused.value.retry_after_s


def test_sequences_go_where_there_are_fewest() -> None:
    sequences = table(lanes=2, capacity=2)

    lanes = [sequences.start(number, None).lane for number in range(4)]

    assert sorted(lanes) == [0, 0, 1, 1]
    assert sequences.capacity == 4


def test_the_idlest_is_the_one_that_has_rested_longest() -> None:
    sequences = table()
    first, second = sequences.start(1, None), sequences.start(2, None)
    sequences.rest(first, 1.0)
    sequences.rest(second, 2.0)

    assert sequences.idlest() is first
    sequences.busy(first)
    assert sequences.idlest() is second
    sequences.rest(first, 3.0)
    assert sequences.idlest() is second


def test_closing_takes_a_sequence_from_its_stream() -> None:
    sequences, stream = table(), Owner()
    started = sequences.start(1, stream)

    sequences.close(started)

    assert not stream.sequences
    assert sequences.idlest() is None
