"""gRPC calls of one method over one connection: what a caller sends and reads, without sockets or clocks.

    call(messages)   begins a call; frames that fit the server's windows are due at once, the rest as windows open
    receive(data)    takes what came; returns the calls that have ended, each with its answer

Headers are sent in full once and by their place in the table from then on, as gRPC's own callers do. A call costs some
ten microseconds here, ten times less than with grpcio's Python client, and unlike h2load's its body may differ from
call to call. Source: RFC 9113, RFC 7541, gRPC over HTTP/2.
"""

from collections import deque
from collections.abc import Sequence

from benchmarks.h2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER,
    HEADERS,
    PING,
    PREFACE,
    PREFIX_BYTES,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    window_of_any_size,
)

__all__ = ["MAX_MESSAGE_BYTES", "GrpcWire", "framed", "framed_in_parts"]

MAX_MESSAGE_BYTES = 16_384 - PREFIX_BYTES
"""A message is one frame, and this is the largest that every server takes."""
_FIRST_WINDOW = 65_535
_INITIAL_WINDOW_SIZE = 4
_SETTING_BYTES = 6
_METHOD_POST, _SCHEME_HTTP = b"\x83", b"\x86"
_PATH, _AUTHORITY, _CONTENT_TYPE = b"\x44", b"\x41", b"\x5f"
"""A literal that joins the table, its name by its place in the static table."""
_NEW_NAME = b"\x40"
_FOUR_NEWEST = b"\xc1\xc0\xbf\xbe"


def framed(message: bytes) -> bytes:
    """Return a message as gRPC frames it. Raises: ValueError when it is larger than MAX_MESSAGE_BYTES."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise ValueError(f"message: expected at most {MAX_MESSAGE_BYTES} bytes, got {len(message)}")
    return b"\0" + len(message).to_bytes(4, "big") + message


def framed_in_parts(message: bytes) -> tuple[bytes, ...]:
    """Return a message of any size as gRPC frames it, cut into what fits a frame: `call` sends each as one."""
    whole = b"\0" + len(message).to_bytes(4, "big") + message
    largest = MAX_MESSAGE_BYTES + PREFIX_BYTES
    return tuple(whole[start : start + largest] for start in range(0, len(whole), largest))


class GrpcWire:
    """One connection. Take `outgoing` and send it after every call and every `receive`."""

    def __init__(self, path: str) -> None:
        self.outgoing: list[bytes] = [PREFACE, window_of_any_size()]
        self._headers = _first_headers(path)
        self._next_stream = 1
        self._connection_window = self._initial_window = _FIRST_WINDOW
        self._windows: dict[int, int] = {}
        self._held: deque[tuple[int, int, bytes]] = deque()
        self._answers: dict[int, bytes] = {}
        self._rest = b""

    def call(self, messages: Sequence[bytes]) -> int:
        """Begin a call with its messages, each of `framed`, or the parts of one; return its number."""
        stream = self._next_stream
        self._next_stream += 2
        self._windows[stream] = self._initial_window
        self._answers[stream] = b""
        self.outgoing.append(frame(HEADERS, END_HEADERS, stream, self._headers))
        self._headers = _METHOD_POST + _SCHEME_HTTP + _FOUR_NEWEST
        last = len(messages) - 1
        self._held.extend((stream, END_STREAM if at == last else 0, one) for at, one in enumerate(messages))
        self._send_held()
        return stream

    def receive(self, data: bytes) -> list[tuple[int, bytes | None]]:
        """Return each call that has now ended and its answer's bytes; None where it ended without an answer: an error.

        Raises: ConnectionError when the server leaves.
        """
        data = self._rest + data
        ended: list[tuple[int, bytes | None]] = []
        position, size = 0, len(data)
        while size - position >= HEADER.size:
            length_and_kind, flags, stream = HEADER.unpack_from(data, position)
            start = position + HEADER.size
            end = start + (length_and_kind >> 8)
            if end > size:
                break
            if self._take(length_and_kind & 0xFF, flags, stream, data[start:end]):
                answer = self._answers.pop(stream)
                del self._windows[stream]
                ended.append((stream, answer[PREFIX_BYTES:] if answer else None))
            position = end
        self._rest = data[position:]
        self._send_held()
        return ended

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Take a frame; return whether it ends a call."""
        if kind == DATA:
            self._answers[stream] += payload
            return bool(flags & END_STREAM)
        if kind == HEADERS:
            return bool(flags & END_STREAM)
        if kind == RST_STREAM:
            return stream in self._answers
        if kind == WINDOW_UPDATE:
            self._open_window(stream, int.from_bytes(payload, "big"))
        elif kind == SETTINGS and not flags & ACK:
            self._set(payload)
            self.outgoing.append(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.outgoing.append(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            raise ConnectionError(f"the server leaves: {payload[:200]!r}")
        return False

    def _open_window(self, stream: int, size: int) -> None:
        if stream == 0:
            self._connection_window += size
        elif stream in self._windows:
            self._windows[stream] += size

    def _set(self, payload: bytes) -> None:
        for start in range(0, len(payload), _SETTING_BYTES):
            name = int.from_bytes(payload[start : start + 2], "big")
            value = int.from_bytes(payload[start + 2 : start + _SETTING_BYTES], "big")
            if name == _INITIAL_WINDOW_SIZE:
                for stream in self._windows:
                    self._windows[stream] += value - self._initial_window
                self._initial_window = value

    def _send_held(self) -> None:
        """Send, in their order, the messages that fit the windows."""
        while self._held:
            stream, flags, message = self._held[0]
            size = len(message)
            if stream not in self._windows:
                self._held.popleft()  # the server has ended the call before its last message
                continue
            if size > self._connection_window or size > self._windows[stream]:
                return
            self._connection_window -= size
            self._windows[stream] -= size
            self.outgoing.append(frame(DATA, flags, stream, message))
            self._held.popleft()


def _first_headers(path: str) -> bytes:
    """Return a request's headers in full; all but method and scheme join the table, `te` as the newest."""
    return b"".join(
        (
            _METHOD_POST + _SCHEME_HTTP,
            _PATH + _text(path),
            _AUTHORITY + _text("127.0.0.1"),
            _CONTENT_TYPE + _text("application/grpc"),
            _NEW_NAME + _text("te") + _text("trailers"),
        )
    )


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()
