"""What a live stream keeps, what it forgets, and how far it reads ahead."""

import threading
from collections.abc import Iterator

import pytest

from cuelight.client.audio_log import FINALIZE, AudioLog, Claim, Control
from cuelight.client.speech_options import AudioFormat

SAID = AudioFormat(16_000, "linear16")
NEVER_S = 3600.0


def started(chunks: Iterator[bytes | Control], ahead: int = 1000, kept: int = 10_000) -> AudioLog:
    log = AudioLog(chunks, SAID, ahead, kept)
    log.start()
    return log


def read_all(log: AudioLog, start: int = 0) -> list[bytes | Control]:
    """Return what a connection that begins at a position is given, audio in one piece between controls."""
    claim = Claim(start)
    pieces: list[bytes | Control] = []
    assert log.sniffed(claim) is not None
    for piece in log.read(claim, NEVER_S):
        if isinstance(piece, bytes) and pieces and isinstance(pieces[-1], bytes):
            pieces[-1] = pieces[-1] + piece
        else:
            pieces.append(piece)
    return pieces


def spoken(*chunks: bytes | Control) -> Iterator[bytes | Control]:
    yield from chunks


def test_audio_comes_in_order_with_its_controls_between() -> None:
    log = started(spoken(b"abcd", FINALIZE, b"ef", b"gh", FINALIZE))

    assert read_all(log) == [b"abcd", FINALIZE, b"efgh", FINALIZE]


def test_a_control_within_the_first_bytes_stands_where_it_was_put() -> None:
    log = started(spoken(b"a", FINALIZE, b"b", b"cdef"))

    assert read_all(log) == [b"a", FINALIZE, b"bcdef"]


def test_the_next_connection_begins_where_it_is_told_to() -> None:
    log = started(spoken(b"abcd", FINALIZE, b"ef", b"gh"))
    assert read_all(log) == [b"abcd", FINALIZE, b"efgh"]

    log.forget(2, False)
    assert read_all(log, 2) == [b"cd", FINALIZE, b"efgh"]
    log.forget(6, False)
    assert read_all(log, 6) == [b"gh"]
    assert not log.holds(4)


@pytest.mark.parametrize(("ended", "again"), [(False, [FINALIZE, b"ef"]), (True, [b"ef"])])
def test_a_control_where_the_acknowledgement_ends_is_done_with_its_utterance(
    ended: bool, again: list[bytes | Control]
) -> None:
    log = started(spoken(b"abcd", FINALIZE, b"ef"))
    read_all(log)

    log.forget(4, ended)

    assert read_all(log, 4) == again


def test_the_caller_is_read_so_far_ahead_and_no_further() -> None:
    pulled: list[int] = []
    reached = threading.Event()

    def source() -> Iterator[bytes]:
        for number in range(1000):
            pulled.append(number)
            if number == 10:
                reached.set()
            yield bytes(100)

    log = started(source(), ahead=1000)
    reached.wait()
    claim = Claim(0)
    read = log.read(claim, NEVER_S)
    # Ten chunks fill the room; the eleventh waits for it.
    assert log.end == 1000
    assert len(pulled) == 11

    assert len(bytes(next(read))) == 1000  # type: ignore[arg-type]
    while log.end < 2000:
        assert isinstance(next(read), bytes)
    log.close()
    assert list(read) == []


def test_what_was_sent_is_kept_up_to_a_bound_and_then_dropped() -> None:
    log = started((bytes(100) for _ in range(50)), ahead=200, kept=1000)

    sent = read_all(log)

    assert sent == [bytes(5000)]
    assert not log.holds(3999)
    assert log.holds(4000)


def test_a_silent_caller_is_covered_by_signs_of_life() -> None:
    more = threading.Event()

    def silent() -> Iterator[bytes]:
        yield b"abcd"
        more.wait()

    log = started(silent())
    claim = Claim(0)
    log.sniffed(claim)
    read = log.read(claim, 0.01)

    assert [next(read) for _ in range(3)] == [b"abcd", Control.KEEP_ALIVE, Control.KEEP_ALIVE]
    more.set()
    assert [piece for piece in read if piece is not Control.KEEP_ALIVE] == []


def test_a_connection_that_is_over_reads_no_more() -> None:
    log = started(spoken(b"abcd", b"ef"))
    claim = Claim(0)
    log.sniffed(claim)
    read = log.read(claim, NEVER_S)
    next(read)

    claim.over = True
    log.wake()

    assert list(read) == []


def test_in_a_container_nothing_goes_but_controls_that_were_heard() -> None:
    log = started(spoken(b"fLaCabcd", FINALIZE, b"ef"))
    read_all(log)

    log.forget(100, False)
    assert read_all(log) == [b"fLaCabcd", FINALIZE, b"ef"]
    log.forget(100, True)
    assert read_all(log) == [b"fLaCabcdef"]
