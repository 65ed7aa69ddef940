"""PNG files put together by hand, for headers and contents that no library writes."""

import struct
import zlib


def png_file(width: int, height: int, packed: bytes, *, bits: int = 8, color: int = 2) -> bytes:
    """Return a PNG of this header around packed lines. Source: PNG specification, sections 5.3 and 11.2.2."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
