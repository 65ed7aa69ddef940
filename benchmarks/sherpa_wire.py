"""What a caller of sherpa-onnx's streaming WebSocket server sends and reads. One voice a connection.

Audio goes as binary messages of float32 samples; an answer, JSON, comes for every chunk that was decoded. The masking
key is zero: the server unmasks all the same, and the client need not mask. Source: RFC 6455; sherpa-onnx,
online-websocket-server-impl.cc.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.voices import Heard

__all__ = ["SherpaWire"]

_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: Y3VlbGlnaHQgdm9pY2UgMA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_FIN_BINARY, _MASKED, _NO_KEY = 0x82, 0x80, bytes(4)
_LENGTH_16, _LENGTH_64 = 126, 127
_OPCODE, _TEXT, _CLOSE = 0x0F, 1, 8
_TAIL_BYTES = 60
_TEXT_START, _TEXT_END, _FINAL = b'"text": "', b'", "tokens"', b'"is_final": true'


class SherpaWire:
    """The bytes of one voice, both ways."""

    opening = _HANDSHAKE
    credit = 2**62
    """Bytes that may be sent: TCP alone holds the caller back."""
    overhead_bytes = 0

    def __init__(self) -> None:
        self.is_open = False
        self.ended: str | None = None
        self.reply = b""
        self._rest = b""

    @staticmethod
    def framed(samples: NDArray[np.int16]) -> bytes:
        """Return a message of audio."""
        payload = (samples.astype(np.float32) / 32768).tobytes()
        if len(payload) < _LENGTH_16:
            length = bytes([_MASKED | len(payload)])
        elif len(payload) < 1 << 16:
            length = bytes([_MASKED | _LENGTH_16]) + len(payload).to_bytes(2, "big")
        else:
            length = bytes([_MASKED | _LENGTH_64]) + len(payload).to_bytes(8, "big")
        return bytes([_FIN_BINARY]) + length + _NO_KEY + payload

    def take(self, received: bytes) -> Iterator[Heard]:
        """Yield the answers that are now whole."""
        data, position = self._rest + received, 0
        if not self.is_open:
            position = data.find(b"\r\n\r\n") + 4
            if position < 4:
                self._rest = data
                return
            self.is_open = data.startswith(b"HTTP/1.1 101")
            if not self.is_open:
                self.ended = repr(data[:100])
        while found := _frame_at(data, position):
            opcode, payload, position = found
            if opcode == _CLOSE:
                self.ended = "the server closed the connection"
            elif opcode == _TEXT:
                yield _heard(payload)
        self._rest = data[position:]


def _frame_at(data: bytes, position: int) -> tuple[int, bytes, int] | None:
    """Return the frame at `position` once it is whole: its opcode, its payload, and where the next one starts."""
    if len(data) - position < 2:
        return None
    length, start = data[position + 1], position + 2
    if length >= _LENGTH_16:
        start += 2 if length == _LENGTH_16 else 8
        length = int.from_bytes(data[position + 2 : start], "big")
    if len(data) < start + length:
        return None
    return data[position] & _OPCODE, data[start : start + length], start + length


def _heard(answer: bytes) -> Heard:
    text = answer[answer.find(_TEXT_START) + len(_TEXT_START) : answer.find(_TEXT_END)]
    return Heard(text.decode().strip(), _FINAL in answer[-_TAIL_BYTES:])
