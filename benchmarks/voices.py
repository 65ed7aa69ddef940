"""Voices that speak in real time: what a speech server must keep up with. One thread, one connection a voice.

Each voice sends a message of audio every so often from a moment of its own on, whether or not answers come. The model
gives one word a chunk (`speech_model.py`), so the number of words tells which chunk an answer covers. Latency counts
from the moment at which the last sample that the chunk needs was due to be sent: what holds up the sender counts too.
"""

import heapq
import itertools
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.speech_model import CHUNK_SAMPLES, SAMPLE_RATE_HZ, WORDS, needed_samples

__all__ = ["Heard", "Voices", "Wire"]

_RECEIVE_BYTES = 1 << 16
_AT_ONCE = 50
_OPEN_LIMIT_S = 20.0
_CHUNK_S = CHUNK_SAMPLES / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer: the words of the utterance so far."""

    text: str
    is_final: bool
    end_s: float = 0.0
    """Where the audio that it covers ends, where the system says so."""


class Wire(Protocol):
    """How one voice's bytes look in one system."""

    is_open: bool
    """Whether the server took the call."""
    ended: str | None
    """How the server ended it, if it did."""
    reply: bytes
    """What the protocol wants sent at once."""
    credit: int
    """Bytes of messages that may be sent."""
    overhead_bytes: int
    """Bytes of each message that do not count."""

    @property
    def opening(self) -> bytes:
        """What is sent on connection."""
        ...

    def take(self, received: bytes) -> Iterator[Heard]:
        """Yield the answers that are now whole."""
        ...


@dataclass(slots=True)
class _Counts:
    """What happened since the last reset."""

    latencies_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    behind_s: list[float] = field(default_factory=list)
    final_behind_s: list[float] = field(default_factory=list)
    chunks: int = 0


class _Voice:
    """One voice: what it has sent, and which chunks were answered."""

    def __init__(
        self, connection: socket.socket, wire: Wire, messages: Sequence[bytes], message_samples: int, numbered: bool
    ) -> None:
        self.connection, self.wire = connection, wire
        self.start_s = float("inf")
        self.wrong = 0
        self._messages = messages
        self._message_samples = message_samples
        self._message_s = message_samples / SAMPLE_RATE_HZ
        self._sent = 0
        self._waiting: deque[bytes] = deque()
        self._sending = b""
        self._utterance_chunk = self._next_chunk = 0
        self._numbered = numbered
        connection.sendall(wire.opening)
        connection.setblocking(False)

    def due_s(self) -> float:
        """Return when the next message is to be sent: once its audio has been spoken."""
        return self.start_s + (self._sent + 1) * self._message_s

    def speak(self) -> None:
        """Send the next message, or as much as the server takes."""
        self._waiting.append(self._messages[self._sent % len(self._messages)])
        self._sent += 1
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as it goes."""
        while self._sending or self._takes_next():
            try:
                count = self.connection.send(self._sending)
            except BlockingIOError:
                return
            except OSError as error:
                self.wire.ended = self.wire.ended or str(error)
                return
            self._sending = self._sending[count:]

    def _takes_next(self) -> bool:
        """Begin with the next message, if there is one and the server has room for it."""
        if not self._waiting:
            return False
        size = len(self._waiting[0]) - self.wire.overhead_bytes
        if size > self.wire.credit:
            return False
        self.wire.credit -= size
        self._sending = self._waiting.popleft()
        return True

    def needed_s(self, chunk: int) -> float:
        """Return when the last sample that a chunk needs is sent."""
        messages = -(-needed_samples(chunk) // self._message_samples)
        return self.start_s + messages * self._message_s

    def receive(self, counts: _Counts) -> None:
        """Take what came: count the chunks that it answers."""
        try:
            received = self.connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            received, self.wire.ended = b"", str(error)
        if not received:
            self.wire.ended = self.wire.ended or "the server closed the connection"
            return
        now_s = time.perf_counter()
        for heard in self.wire.take(received):
            self._answered(heard, now_s, counts)
        if self.wire.reply:
            self._sending += self.wire.reply
            self.wire.reply = b""
        self.flush()

    def _answered(self, heard: Heard, now_s: float, counts: _Counts) -> None:
        if not heard.text:
            return
        behind_s = counts.final_behind_s if heard.is_final else counts.behind_s
        behind_s.append(now_s - self.start_s - heard.end_s)
        if not self._numbered:
            return
        chunk = self._utterance_chunk + heard.text.count(" ")
        if heard.is_final:
            self._utterance_chunk = chunk + 1
            self.wrong += not _goes_on(heard.text)
        self.wrong += chunk + 1 < self._next_chunk
        while self._next_chunk <= chunk:
            counts.latencies_s.append(now_s - self.needed_s(self._next_chunk))
            counts.chunks += 1
            self._next_chunk += 1

    def lag_s(self, now_s: float) -> float:
        """Return for how long an answer has been due."""
        return max(0.0, now_s - self.needed_s(self._next_chunk))

    def overdue_s(self, now_s: float) -> Iterator[float]:
        """Yield for how long each chunk without an answer has been due."""
        for chunk in itertools.count(self._next_chunk):
            if (lag_s := now_s - self.needed_s(chunk)) <= 0:
                return
            yield lag_s


def _goes_on(text: str) -> bool:
    """Return whether the words of an utterance follow one another; a state that was not reset goes on where it was."""
    numbers = [int(word[1:]) for word in text.split()]
    return all((before + 1) % WORDS == number for before, number in itertools.pairwise(numbers))


class Voices:
    """Voices on a server: opened, then kept speaking for as long as `speak` runs. A context manager."""

    def __init__(
        self,
        port: int,
        wire: Callable[[], Wire],
        messages: Sequence[bytes],
        message_samples: int,
        count: int,
        numbered: bool = True,
    ) -> None:
        """`numbered` says that the model is the one of `speech_model.py`; of another, only `behind_s` is known.

        Such voices begin at different places of the messages.
        """
        self._selector = selectors.DefaultSelector()
        self._stack = ExitStack()
        self._stack.enter_context(self._selector)
        self._voices: list[_Voice] = []
        self._due: list[tuple[float, int]] = []
        self._counts = _Counts()
        for start in range(0, count, _AT_ONCE):
            for index in range(start, min(count, start + _AT_ONCE)):
                connection = self._stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                first = 0 if numbered else index * len(messages) // count
                said = [*messages[first:], *messages[:first]]
                voice = _Voice(connection, wire(), said, message_samples, numbered)
                self._selector.register(connection, selectors.EVENT_READ, voice)
                self._voices.append(voice)
            self._await_open(self._voices[start:])

    def __enter__(self) -> "Voices":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _await_open(self, voices: Sequence[_Voice]) -> None:
        end_s = time.perf_counter() + _OPEN_LIMIT_S
        while not all(voice.wire.is_open or voice.wire.ended for voice in voices):
            if time.perf_counter() > end_s:
                raise TimeoutError(f"voices did not open within {_OPEN_LIMIT_S:g} s")
            self._receive(0.05)

    def start(self, ramp_s: float) -> None:
        """Let the voices begin one after the other within that time."""
        now_s = time.perf_counter()
        for index, voice in enumerate(self._voices):
            voice.start_s = now_s + ramp_s * index / len(self._voices)
            self._due.append((voice.due_s(), index))
        heapq.heapify(self._due)

    def speak(self, seconds: float) -> None:
        """Keep the voices speaking; counts begin anew."""
        self._counts = _Counts()
        end_s = time.perf_counter() + seconds
        while (now_s := time.perf_counter()) < end_s:
            while self._due and self._due[0][0] <= now_s:
                self._speak_next(now_s)
            next_s = min(end_s, self._due[0][0]) if self._due else end_s
            self._receive(max(0.0, next_s - time.perf_counter()))

    def _speak_next(self, now_s: float) -> None:
        due_s, index = self._due[0]
        voice = self._voices[index]
        if voice.wire.ended:
            heapq.heappop(self._due)
            return
        voice.speak()
        self._counts.late_s.append(now_s - due_s)
        heapq.heapreplace(self._due, (voice.due_s(), index))

    def _receive(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            voice: _Voice = key.data
            voice.receive(self._counts)
            if voice.wire.ended:
                self._selector.unregister(voice.connection)

    def latencies_s(self) -> list[float]:
        """Return the latencies of the last `speak`; what is still due counts with how long it has been due."""
        now_s = time.perf_counter()
        return [*self._counts.latencies_s, *(lag_s for one in self._live() for lag_s in one.overdue_s(now_s))]

    def late_s(self) -> list[float]:
        """Return how late each message was sent."""
        return self._counts.late_s

    def behind_s(self) -> list[float]:
        """Return how far behind the voice the end of what each interim answer covers was when it came."""
        return self._counts.behind_s

    def final_behind_s(self) -> list[float]:
        """Return how far behind the voice the end of the speech of each final answer was when it came."""
        return self._counts.final_behind_s

    def heard_s(self) -> float:
        """Return how much audio was answered in the last `speak`, of all voices together."""
        return self._counts.chunks * _CHUNK_S

    def lag_s(self) -> float:
        """Return how long the answer that has been due longest has been due."""
        now_s = time.perf_counter()
        return max((voice.lag_s(now_s) for voice in self._live()), default=0.0)

    def ended(self) -> list[str]:
        """Return how the server ended voices."""
        return [voice.wire.ended for voice in self._voices if voice.wire.ended]

    def wrong(self) -> int:
        """Return how many answers did not say the words that were due."""
        return sum(voice.wrong for voice in self._voices)

    def _live(self) -> list[_Voice]:
        return [voice for voice in self._voices if not voice.wire.ended]
