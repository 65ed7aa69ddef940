"""How much work a file's bytes ask for, told by its parts before anything is decoded.

A small JPEG can name thousands of scans, for each of which libjpeg goes over the whole picture; files of both kinds can
be cut into millions of parts, each of which Pillow looks at, holding the interpreter lock. Sources: ITU-T T.81, B.1.1;
which markers stand alone: libjpeg-turbo, `jdmarker.c`; chunks: W3C PNG, 5.3.
"""

import re

from cuelight.server.errors import InvalidRequest

__all__ = ["check_jpeg_effort", "check_png_effort"]

_MAX_SCANS = 100
"""Progressive files have about ten. Source: libjpeg-turbo, `djpeg -maxscans`."""
_MAX_SCANNED_PIXELS = 400_000_000
"""Scans times pixels: 16 scans of a picture of 25 million pixels, about 3 s of one core."""
_MAX_SEGMENTS = 2_000
"""16 MB of colour profile or EXIF are 256."""
_MAX_CHUNKS = 20_000
"""16 MB in chunks of 8 KiB, as libpng cuts them, are 2,048."""
_CHUNKS_BEGIN, _CHUNK_FRAME_BYTES = 8, 12
"""Behind the signature; length, type and checksum of a chunk."""
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""Neither a stuffed byte, nor filling, nor a marker that stands alone within a picture."""
_PIECE_BYTES = 1 << 20
"""Searched at once: a search holds the interpreter lock."""
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_jpeg_effort(data: bytes) -> None:
    """Raise InvalidRequest for a JPEG of too many scans or segments; what a phone puts behind it is no part of it."""
    scans = segments = pixels = 0
    place = 0
    while (at := _next_marker(data, place)) is not None:
        marker, place = data[at - 1], at
        if marker == _END_OF_IMAGE:
            return
        if marker == _START_OF_IMAGE:
            continue
        segments += 1
        scans += marker == _START_OF_SCAN
        if marker in _START_OF_FRAME:
            pixels = int.from_bytes(data[at + 3 : at + 5]) * int.from_bytes(data[at + 5 : at + 7])
        if segments > _MAX_SEGMENTS:
            raise InvalidRequest(f"a JPEG of more than {_MAX_SEGMENTS} segments")
        most = min(_MAX_SCANS, max(1, _MAX_SCANNED_PIXELS // max(1, pixels)))
        if scans > most:
            raise InvalidRequest(f"a JPEG of more than {most} scans")
        place = at + int.from_bytes(data[at : at + 2])


def check_png_effort(data: bytes) -> None:
    """Raise InvalidRequest for a PNG of too many chunks."""
    at, chunks = _CHUNKS_BEGIN, 0
    while at < len(data):
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise InvalidRequest(f"a PNG of more than {_MAX_CHUNKS} chunks")
        at += _CHUNK_FRAME_BYTES + int.from_bytes(data[at : at + 4])


def _next_marker(data: bytes, at: int) -> int | None:
    """Return the place behind the next marker's two bytes; None where there is none."""
    for start in range(at, len(data), _PIECE_BYTES):
        # Pieces overlap by a byte, for a marker may lie across their edge.
        if (found := _MARKER.search(data, start, start + _PIECE_BYTES + 1)) is not None:
            return found.end()
    return None
