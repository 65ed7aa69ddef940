"""What of a live stream may have to be sent again: bytes and controls, until a server is done with them.

    caller's chunks -> a thread of its own -> [ first kept ... sent ... last read ] -> the connection that lives

The thread keeps a microphone from standing still while a server is looked for. It reads `max_ahead_bytes` ahead of what
was sent and no further; of what was sent at most `max_kept_bytes` are kept, and what goes beyond is dropped: then the
stream lives on, but can no longer go on elsewhere before the next acknowledgement (`holds` tells).

Positions count bytes after the header. A control stands between two bytes. It is forgotten with the bytes in front of
it, except where the acknowledgement ends right there: then it depends on whether an utterance was ended with it.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import partial

from cuelight.client.speech_options import AudioFormat
from cuelight.client.wav_header import SniffedAudio, sniff

__all__ = ["FINALIZE", "AudioLog", "Claim", "Control"]

_MESSAGE_BYTES = 65_536
"""At most this much goes into one message, so that a chunk of any size is acknowledged little by little."""


class Control(Enum):
    """What may stand between a caller's chunks, and what a connection sends when nothing comes."""

    FINALIZE = "finalize"
    KEEP_ALIVE = "keep alive"


FINALIZE = Control.FINALIZE
"""Between two chunks of audio: end the utterance here, and go on."""


class Claim:
    """One connection's claim on the log: where it has come to, and whether it still lives."""

    def __init__(self, start: int) -> None:
        self.over = False
        self.position = start
        self.control = 0
        """The number of the next control."""


class AudioLog:
    """The kept audio. Filled by its own thread, read by the connection that lives at the time."""

    def __init__(
        self, chunks: Iterable[bytes | Control], said: AudioFormat, max_ahead_bytes: int, max_kept_bytes: int
    ) -> None:
        self._chunks = chunks
        self._said = said
        self._max_ahead_bytes = max_ahead_bytes
        self._max_kept_bytes = max_kept_bytes
        self._head = bytearray()
        self._data = bytearray()
        self._first = 0
        """The position of the first kept byte."""
        self._sent = 0
        """The furthest position that any connection has sent."""
        self._controls: deque[int] = deque()
        self._first_control = 0
        self._sent_controls = 0
        self._sniffed: SniffedAudio | None = None
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._fill, name="cuelight-speech-audio", daemon=True)

    def start(self) -> None:
        """Begin to read the caller's chunks."""
        self._thread.start()

    @property
    def end(self) -> int:
        """The position after the last byte that was read."""
        return self._first + len(self._data)

    @property
    def sniffed_now(self) -> SniffedAudio | None:
        """What the audio turned out to be, or None while that is open."""
        return self._sniffed

    def failure(self) -> BaseException | None:
        """Return what the caller's iterable raised."""
        return self._error

    def sniffed(self, claim: Claim) -> SniffedAudio | None:
        """Wait for what the audio turns out to be; None when the connection ends before."""
        with self._changed:
            self._changed.wait_for(lambda: self._sniffed is not None or self._closed or claim.over)
            return self._sniffed

    def holds(self, position: int) -> bool:
        """Whether everything from a position on is still here."""
        return position >= self._first

    def all_sent(self, claim: Claim) -> bool:
        """Whether the caller has ended and a connection has sent everything."""
        return self._ended and claim.position >= self.end

    def wake(self) -> None:
        """Let readers look again whether they should go on."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Read no further and let every reader end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def forget(self, until: int, utterance_ended: bool) -> None:
        """Drop what a server is done with: everything in front of a position, and the control at it, if it was heard.

        In a container positions say nothing, so nothing but the controls goes that were sent before an utterance ended.
        """
        with self._changed:
            if self._sniffed is not None and self._sniffed.frame_bytes == 0:
                while utterance_ended and self._first_control < self._sent_controls:
                    self._drop_control()
                return
            self._drop_bytes(until - self._first)
            while self._controls and self._controls[0] < until + utterance_ended:
                self._drop_control()
            self._changed.notify_all()

    def read(self, claim: Claim, keep_alive_s: float) -> Iterator[bytes | Control]:
        """Yield what comes from the claim's position on, for as long as the connection lives, then what says so."""
        with self._changed:
            claim.control = self._first_control
        while True:
            with self._changed:
                if not self._changed.wait_for(partial(self._can_go_on, claim), keep_alive_s):
                    piece: bytes | Control | None = Control.KEEP_ALIVE
                else:
                    piece = self._next(claim)
            if piece is None:
                return
            yield piece

    def _can_go_on(self, claim: Claim) -> bool:
        more = claim.position < self.end or claim.control < self._first_control + len(self._controls)
        return claim.over or self._closed or self._ended or more

    def _next(self, claim: Claim) -> bytes | Control | None:
        if claim.over or self._closed:
            return None
        index = claim.control - self._first_control
        control = self._controls[index] if 0 <= index < len(self._controls) else None
        if control is not None and control <= claim.position:
            claim.control += 1
            self._sent_controls = max(self._sent_controls, claim.control)
            return FINALIZE
        until = min(claim.position + _MESSAGE_BYTES, self.end if control is None else control)
        if until <= claim.position:
            return None
        piece = bytes(memoryview(self._data)[claim.position - self._first : until - self._first])
        claim.position = until
        self._sent = max(self._sent, until)
        self._changed.notify_all()
        return piece

    def _drop_bytes(self, count: int) -> None:
        if count > 0:
            self._first += min(count, len(self._data))
            del self._data[:count]

    def _drop_control(self) -> None:
        self._controls.popleft()
        self._first_control += 1

    def _fill(self) -> None:
        try:
            for chunk in self._chunks:
                if not (self._take_control() if isinstance(chunk, Control) else self._take(bytes(chunk))):
                    return
        except BaseException as error:
            # Whatever the caller's iterable raises is the caller's to see, in the caller's thread.
            self._error = error
        finally:
            with self._changed:
                self._recognize_head(ended=True)
                self._ended = True
                self._changed.notify_all()

    def _take_control(self) -> bool:
        with self._changed:
            self._controls.append(self.end + len(self._head))
            self._changed.notify_all()
            return not self._closed

    def _take(self, chunk: bytes) -> bool:
        """Keep a chunk, piece by piece, as there is room; return False when nobody listens any more."""
        for start in range(0, len(chunk), _MESSAGE_BYTES):
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self.end - self._sent < self._max_ahead_bytes)
                if self._closed:
                    return False
                self._append(chunk[start : start + _MESSAGE_BYTES])
                self._drop_bytes(min(len(self._data) - self._max_kept_bytes, self._sent - self._first))
                self._changed.notify_all()
        return True

    def _append(self, piece: bytes) -> None:
        if self._sniffed is None:
            self._head += piece
            self._recognize_head(ended=False)
            return
        if self._sniffed.data_bytes is not None:
            piece = piece[: max(self._sniffed.data_bytes - self.end, 0)]
        self._data += piece

    def _recognize_head(self, ended: bool) -> None:
        if self._sniffed is None and (found := sniff(bytes(self._head), self._said, ended)) is not None:
            self._sniffed = found
            self._controls = deque(max(place - found.header_bytes, 0) for place in self._controls)
            body = bytes(self._head[found.header_bytes :])
            self._head.clear()
            self._append(body)
