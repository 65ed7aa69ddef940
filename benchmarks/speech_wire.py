"""What a caller of Cuelight's speech service sends and reads: StreamingRecognize over HTTP/2, one voice a connection.

Audio goes as 16 bit samples; interim results are asked for, and come for every chunk that says something new. Unlike
`ping_pong.py` this caller keeps to the windows of the server: one that falls behind stops reading, and then has to be
waited for. Source: RFC 9113, gRPC over HTTP/2.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.h2_frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADER,
    HEADERS,
    PING,
    PREFIX_BYTES,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    opening,
)
from benchmarks.speech_model import MODEL, SAMPLE_RATE_HZ
from benchmarks.voices import Heard
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["SpeechWire"]

_PATH = "/cuelight.speech.v1.SpeechService/StreamingRecognize"
_FIRST_WINDOW = 65_535
_INITIAL_WINDOW_SIZE = 4
_SETTING_BYTES = 6


class SpeechWire:
    """The bytes of one voice, both ways."""

    overhead_bytes = HEADER.size

    def __init__(self, model: str = MODEL) -> None:
        self.opening = opening(_PATH) + frame(DATA, 0, 1, _message(pb.StreamingRecognizeRequest(config=_config(model))))
        self.is_open = False
        self.ended: str | None = None
        self.reply = b""
        self._connection_window = self._stream_window = _FIRST_WINDOW
        self._initial_window = _FIRST_WINDOW
        self._spent = len(self.opening)
        self._rest = self._answer = b""

    @staticmethod
    def framed(samples: NDArray[np.int16]) -> bytes:
        """Return a message of audio."""
        return frame(DATA, 0, 1, _message(pb.StreamingRecognizeRequest(audio=samples.tobytes())))

    @property
    def credit(self) -> int:
        """Bytes of messages that may be sent."""
        return min(self._connection_window, self._stream_window) - self._spent

    @credit.setter
    def credit(self, value: int) -> None:
        self._spent += self.credit - value

    def take(self, received: bytes) -> Iterator[Heard]:
        """Yield the results that are now whole."""
        data, position = self._rest + received, 0
        while len(data) - position >= HEADER.size:
            length_and_kind, flags, stream = HEADER.unpack_from(data, position)
            start = position + HEADER.size
            end = start + (length_and_kind >> 8)
            if end > len(data):
                break
            kind, payload, position = length_and_kind & 0xFF, data[start:end], end
            if kind == DATA:
                yield from self._results(payload)
            else:
                self._control(kind, flags, stream, payload)
        self._rest = data[position:]

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            size = int.from_bytes(payload, "big")
            if stream:
                self._stream_window += size
            else:
                self._connection_window += size
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self.reply += frame(kind, ACK, 0, payload if kind == PING else b"")
            if kind == SETTINGS:
                self._settings(payload)
        elif kind in (GOAWAY, RST_STREAM) or (kind == HEADERS and flags & END_STREAM):
            self.ended = f"frame {kind}, {payload[:200]!r}"

    def _settings(self, payload: bytes) -> None:
        for start in range(0, len(payload), _SETTING_BYTES):
            if int.from_bytes(payload[start : start + 2], "big") == _INITIAL_WINDOW_SIZE:
                size = int.from_bytes(payload[start + 2 : start + _SETTING_BYTES], "big")
                self._stream_window += size - self._initial_window
                self._initial_window = size

    def _results(self, payload: bytes) -> Iterator[Heard]:
        self._answer += payload
        while len(self._answer) >= PREFIX_BYTES:
            end = PREFIX_BYTES + int.from_bytes(self._answer[1:PREFIX_BYTES], "big")
            if end > len(self._answer):
                return
            response = pb.StreamingRecognizeResponse.FromString(self._answer[PREFIX_BYTES:end])
            self._answer = self._answer[end:]
            self.is_open = True
            yield from _heard(response)


def _heard(response: pb.StreamingRecognizeResponse) -> Iterator[Heard]:
    """Yield the final result as it is, and the interim ones, which follow one another, as one text."""
    interim, end_ms = [], 0
    for result in response.results:
        if result.is_final:
            yield Heard(result.alternatives[0].transcript, True, result.end_ms / 1000)
        else:
            interim.append(result.alternatives[0].transcript)
            end_ms = result.end_ms
    if interim:
        yield Heard(" ".join(interim).strip(), False, end_ms / 1000)


def _config(model: str) -> pb.StreamingConfig:
    audio = pb.AudioFormat(encoding=pb.LINEAR16, sample_rate_hz=SAMPLE_RATE_HZ)
    return pb.StreamingConfig(recognition=pb.RecognitionConfig(model=model, audio=audio), interim_results=True)


def _message(request: pb.StreamingRecognizeRequest) -> bytes:
    message = request.SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message
