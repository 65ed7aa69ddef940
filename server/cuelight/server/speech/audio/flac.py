"""FLAC, frame by frame as the bytes come.

FFmpeg's own splitter waits for ten frames, which is seconds. Here a frame is known to be whole when the header of the
one with the next number follows, which its checksum proves; FFmpeg then decodes the frame and checks its own checksum.
States: the magic, metadata blocks (all but the first are passed over), frames.
"""

from collections.abc import Iterator
from typing import Final

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio.codec import PacketDecoder
from cuelight.server.speech.audio.flac_header import (
    MAX_FRAME_HEADER_BYTES,
    STREAM_INFO_BYTES,
    FrameHeader,
    StreamInfo,
    first_frame,
)
from cuelight.server.speech.audio.format import check_channel_count, check_rate
from cuelight.server.speech.audio.source import Block, expect_magic

__all__ = ["FlacReader"]

_MAGIC: Final = b"fLaC"
_MAX_METADATA_BLOCKS: Final = 128


class FlacReader:
    """Splits the stream into frames and decodes them. Holds one frame that is not whole yet."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._magic_came = False
        self._metadata_blocks = 0
        self._skip_bytes = 0
        self._last_metadata_came = False
        self._info: StreamInfo | None = None
        self._decoder: PacketDecoder | None = None
        self._frame: FrameHeader | None = None
        self._searched = 0
        """How far the pending bytes have been looked through for the next header."""
        self._frames_decoded = 0
        self._truncated = False

    @property
    def rate_hz(self) -> int | None:
        """Instants a second, once the stream's header has come."""
        return self._info.rate_hz if self._info is not None else None

    @property
    def truncated(self) -> bool:
        """Whether the last frame was not whole, and was passed over."""
        return self._truncated

    def feed(self, data: bytes) -> Iterator[Block]:
        """Yield the frames (instants, channels) that are whole. Raises: InvalidRequest if this is no FLAC."""
        self._pending += data
        if not self._in_frames:
            del self._pending[: self._walk(self._pending)]
        if self._in_frames:
            yield from self._frames(last=False)

    def finish(self) -> Iterator[Block]:
        """Yield the last frames. Raises: InvalidRequest if not one frame of the stream could be decoded."""
        if not self._in_frames:
            raise InvalidRequest("FLAC: the stream ends within the header, before any audio")
        if not self._pending:
            return
        try:
            yield from self._frames(last=True)
            yield self._decode(bytes(self._pending))
        except InvalidRequest as error:
            if self._frames_decoded == 0:
                raise InvalidRequest("FLAC: the stream ends in the middle of a frame") from error
            self._truncated = True

    @property
    def _in_frames(self) -> bool:
        return self._last_metadata_came and self._skip_bytes == 0

    def _walk(self, data: bytearray) -> int:
        """Take header parts as far as they have come; returns how many bytes they are."""
        at = 0
        while True:
            skipped = min(self._skip_bytes, len(data) - at)
            self._skip_bytes -= skipped
            at += skipped
            if self._skip_bytes or self._in_frames:
                return at
            taken = self._take(data, at)
            if taken == 0:
                return at
            at += taken

    def _take(self, data: bytearray, at: int) -> int:
        """Take the header part at `at`; returns its bytes, 0 if it has not come in full."""
        if not self._magic_came:
            expect_magic(bytes(data[:16]), _MAGIC, "FLAC")
            self._magic_came = len(data) >= len(_MAGIC)
            return len(_MAGIC) if self._magic_came else 0
        wanted = 4 if self._info is not None else 4 + STREAM_INFO_BYTES
        if len(data) - at < wanted:
            return 0
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        if self._info is None:
            self._begin(kind & 0x7F, size, bytes(data[at + 4 : at + wanted]))
        self._metadata_blocks += 1
        if self._metadata_blocks > _MAX_METADATA_BLOCKS:
            raise InvalidRequest(f"FLAC: no audio after {_MAX_METADATA_BLOCKS} metadata blocks")
        self._skip_bytes = size - (wanted - 4)
        self._last_metadata_came = bool(kind & 0x80)
        return wanted

    def _begin(self, kind: int, size: int, raw: bytes) -> None:
        if kind != 0 or size != STREAM_INFO_BYTES:
            raise InvalidRequest(f"FLAC: expected STREAMINFO of 34 bytes first, got block {kind} of {size} bytes")
        info = StreamInfo.parse(raw)
        check_rate(info.rate_hz, "FLAC: sample rate")
        check_channel_count(info.channels, "FLAC: channels")
        self._info = info
        self._decoder = PacketDecoder(("flac",), raw, info.rate_hz, info.channels, {"err_detect": "crccheck+explode"})

    def _frames(self, last: bool) -> Iterator[Block]:
        """Yield every frame that another one follows; `last`: no more bytes come."""
        data, at = self._pending, 0
        try:
            while (following := self._following(data, at, last)) is not None:
                start, at = at, following
                yield self._decode(bytes(data[start:at]))
        finally:
            del data[:at]
            self._searched -= at

    def _following(self, data: bytearray, at: int, last: bool) -> int | None:
        """Return where the frame behind the one at `at` begins, if it has come."""
        if self._frame is None:
            if len(data) - at < MAX_FRAME_HEADER_BYTES and not last:
                return None
            self._frame = first_frame(bytes(data[at : at + MAX_FRAME_HEADER_BYTES]))
        found = max(self._searched, at + 2)
        while (found := data.find(data[at : at + 2], found)) >= 0:
            if len(data) - found < MAX_FRAME_HEADER_BYTES and not last:
                break
            header = FrameHeader.parse(data, found)
            if header is not None and header.number == self._frame.next_number:
                self._frame = header
                self._searched = found + 2
                return found
            found += 1
        self._searched = found if found >= 0 else max(at + 2, len(data) - 1)
        self._check_length(len(data) - at)
        return None

    def _check_length(self, frame_bytes: int) -> None:
        assert self._info is not None
        if frame_bytes > self._info.max_frame_bytes:
            raise InvalidRequest(
                f"FLAC: frame {self._frames_decoded} does not end within {self._info.max_frame_bytes} bytes"
            )

    def _decode(self, frame: bytes) -> Block:
        assert self._decoder is not None
        block = self._decoder.decode(frame, f"FLAC: frame {self._frames_decoded}")
        self._frames_decoded += 1
        return block
