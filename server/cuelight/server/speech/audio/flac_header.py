"""The two headers of FLAC: of the stream, and of each frame. Source: RFC 9639, sections 8.2 and 9.1."""

from dataclasses import dataclass
from typing import Final

from cuelight.server.errors import InvalidRequest

__all__ = ["MAX_FRAME_HEADER_BYTES", "STREAM_INFO_BYTES", "FrameHeader", "StreamInfo", "first_frame"]

STREAM_INFO_BYTES: Final = 34
MAX_FRAME_HEADER_BYTES: Final = 16
_MAX_BLOCK_SAMPLES: Final = 65_535


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the first metadata block says; `raw` is the block itself."""

    raw: bytes
    rate_hz: int
    channels: int
    max_frame_bytes: int

    @staticmethod
    def parse(raw: bytes) -> "StreamInfo":
        """Read the block's 34 bytes."""
        packed = int.from_bytes(raw[10:18], "big")
        channels, bits = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
        longest = int.from_bytes(raw[2:4], "big") or _MAX_BLOCK_SAMPLES
        # An encoder falls back to plain samples where packing does not pay: twice that is no frame.
        return StreamInfo(raw, packed >> 44, channels, 2 * longest * channels * (bits // 8 + 1) + 1024)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The parts of a frame's header that tell which frame follows."""

    number: int
    """Of the frame, or of its first sample if the stream's blocks differ in length."""
    next_number: int

    @staticmethod
    def parse(data: bytes | bytearray, at: int) -> "FrameHeader | None":
        """Read the header at `at`; None if there is none, or not all of it."""
        if len(data) - at < 6 or data[at] != 0xFF or data[at + 1] not in {0xF8, 0xF9}:
            return None
        coded = _coded_number(data, at + 4)
        if coded is None:
            return None
        number, end = coded
        block_code, rate_code = data[at + 2] >> 4, data[at + 2] & 0x0F
        block_bytes = {6: 1, 7: 2}.get(block_code, 0)
        block_size = _block_size(block_code, data[end : end + block_bytes])
        end += block_bytes + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
        if block_size == 0 or end >= len(data) or _crc8(data[at:end]) != data[end]:
            return None
        return FrameHeader(number, number + (block_size if data[at + 1] & 1 else 1))


def first_frame(data: bytes) -> FrameHeader:
    """Read the header that `data` begins with. Raises: InvalidRequest if there is none."""
    header = FrameHeader.parse(data, 0)
    if header is None:
        raise InvalidRequest(f"FLAC: expected the header of a frame, got {data[:MAX_FRAME_HEADER_BYTES]!r}")
    return header


def _block_size(code: int, extra: bytes | bytearray) -> int:
    if code in {6, 7}:
        return int.from_bytes(extra, "big") + 1
    if code >= 8:
        return 256 << (code - 8)
    return (0, 192, 576, 1152, 2304, 4608)[code]


def _coded_number(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return a number written like UTF-8, of up to seven bytes, and where it ends."""
    first = data[at]
    ones = 8 - (~first & 0xFF).bit_length()
    if ones == 0:
        return first, at + 1
    rest = data[at + 1 : at + ones]
    if ones in {1, 8} or len(rest) < ones - 1 or any(byte >> 6 != 0b10 for byte in rest):
        return None
    number = first & (0x7F >> ones)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, at + ones


def _crc8(data: bytes | bytearray) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc8_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ (0x07 if byte & 0x80 else 0)) & 0xFF
    return byte


_CRC8: Final = tuple(_crc8_of(byte) for byte in range(256))
