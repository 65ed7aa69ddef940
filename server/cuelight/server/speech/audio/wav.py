"""RIFF WAVE, chunk by chunk as the bytes come.

States: the RIFF header, then chunk headers, each followed by its body: `fmt ` is kept, `data` is audio, others are
passed over. A `data` chunk of 0 or 2^32-1 bytes was begun before its writer knew how long it would be: it goes on to
the end. What follows the `data` chunk is not looked at.
"""

import struct
from collections.abc import Iterator
from typing import Final

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio.format import check_channel_count, check_rate
from cuelight.server.speech.audio.pcm import PcmReader, SampleType
from cuelight.server.speech.audio.source import Block, expect_magic

__all__ = ["WavReader"]

_MAX_CHUNKS: Final = 64
"""Chunks before the audio, at most. A handful is usual."""

_UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF)
_EXTENSIBLE: Final = 0xFFFE
_SAMPLE_TYPES: Final[dict[tuple[int, int], SampleType]] = {
    (1, 8): "unsigned8",
    (1, 16): "linear16",
    (1, 24): "linear24",
    (1, 32): "linear32",
    (3, 32): "float32",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
"""By format tag and bits. Source: Microsoft, mmreg.h."""


class WavReader:
    """Walks the header, then converts the audio. Holds a chunk header or a `fmt ` chunk at most."""

    def __init__(self) -> None:
        self._pending = b""
        self._started = False
        self._skip_bytes = 0
        self._chunks = 0
        self._pcm: PcmReader | None = None
        self._in_data = False
        self._left_bytes: int | None = None
        """Of the data chunk; None: until the end."""

    @property
    def rate_hz(self) -> int | None:
        """Instants a second, once `fmt ` has come."""
        return self._pcm.rate_hz if self._pcm is not None else None

    @property
    def truncated(self) -> bool:
        """Whether fewer bytes came than the data chunk has, or part of an instant is left."""
        return not self._in_data or bool(self._left_bytes) or (self._pcm is not None and self._pcm.truncated)

    def feed(self, data: bytes) -> Iterator[Block]:
        """Yield blocks (instants, channels). Raises: InvalidRequest if this is no WAV, or none that is known here."""
        if not self._in_data:
            data = self._walk(self._pending + data)
        if not self._in_data or self._pcm is None or not data or self._left_bytes == 0:
            return
        if self._left_bytes is not None:
            data = data[: self._left_bytes]
            self._left_bytes -= len(data)
        yield from self._pcm.feed(data)

    def finish(self) -> Iterator[Block]:
        """Yield nothing. Raises: InvalidRequest if the header has not ended."""
        if not self._in_data:
            raise InvalidRequest("WAV: the stream ends within the header, before any audio")
        return iter(())

    def _walk(self, data: bytes) -> bytes:
        """Take header parts as far as they have come; returns the audio behind them."""
        at = 0
        while not self._in_data:
            skipped = min(self._skip_bytes, len(data) - at)
            self._skip_bytes -= skipped
            at += skipped
            taken = 0 if self._skip_bytes else self._take(data, at)
            if taken == 0:
                self._pending = data[at:]
                return b""
            at += taken
        self._pending = b""
        return data[at:]

    def _take(self, data: bytes, at: int) -> int:
        """Take the header part at `at`; returns its bytes, 0 if it has not come in full."""
        if not self._started:
            return self._take_riff(data)
        if len(data) - at < 8:
            return 0
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt " and len(data) - at < 8 + min(size, 40):
            return 0
        self._chunks += 1
        if self._chunks > _MAX_CHUNKS:
            raise InvalidRequest(f"WAV: no audio in the first {_MAX_CHUNKS} chunks")
        if name == b"data":
            self._begin_data(size)
            return 8
        if name == b"fmt ":
            self._pcm = _reader_of(data[at + 8 : at + 8 + min(size, 40)])
        self._skip_bytes = size + size % 2
        return 8

    def _take_riff(self, data: bytes) -> int:
        expect_magic(data, b"RIFF", "WAV")
        if len(data) >= 12 and data[8:12] != b"WAVE":
            raise InvalidRequest(f"WAV: expected b'WAVE' after b'RIFF', got {data[8:12]!r}")
        self._started = len(data) >= 12
        return 12 if self._started else 0

    def _begin_data(self, size: int) -> None:
        if self._pcm is None:
            raise InvalidRequest("WAV: the data chunk comes before the fmt chunk")
        self._in_data = True
        self._left_bytes = None if size in _UNKNOWN_SIZES else size


def _reader_of(chunk: bytes) -> PcmReader:
    if len(chunk) < 16:
        raise InvalidRequest(f"WAV: a fmt chunk of {len(chunk)} bytes, expected at least 16")
    tag, channels, rate_hz, _, instant_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = int.from_bytes(chunk[24:26], "little")  # a GUID that begins with the tag
    sample_type = _SAMPLE_TYPES.get((tag, bits))
    if sample_type is None:
        raise InvalidRequest(
            f"WAV: format tag {tag:#06x} of {bits} bits, "
            "expected PCM of 8, 16, 24 or 32 bits, float of 32, or A-law or mu-law of 8"
        )
    check_rate(rate_hz, "WAV: sample rate")
    check_channel_count(channels, "WAV: channels")
    if instant_bytes != channels * bits // 8:
        raise InvalidRequest(f"WAV: {instant_bytes} bytes a block, expected {channels * bits // 8}")
    return PcmReader(sample_type, rate_hz, channels)
