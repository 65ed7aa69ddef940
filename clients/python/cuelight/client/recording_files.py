"""How long a recording lasts, read from its file, and its bytes as fast as somebody would have spoken them.

Source: RFC 9639, section 8.2 (FLAC, STREAMINFO); RFC 3533, section 6 (Ogg pages) and RFC 7845, section 4 (granule
positions of Opus count samples at 48 kHz, the pre-skip included).
"""

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cuelight.client.speech_options import AudioFormat
from cuelight.client.wav_header import MAX_HEADER_BYTES, sniff

__all__ = ["duration_of", "paced"]

_STREAMINFO_BYTES = 26
_OPUS_RATE_HZ = 48_000
_TAIL_BYTES = 2 * 65_307
"""The longest Ogg page, twice: the last whole one is in there."""


def duration_of(path: Path, audio: AudioFormat | None = None) -> float | None:
    """Return a recording's length in seconds, or None where the file does not tell. `audio` is what has no header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(MAX_HEADER_BYTES)
        file.seek(max(size - _TAIL_BYTES, 0))
        tail = file.read()
    if head.startswith(b"fLaC"):
        return _flac_s(head)
    if head.startswith(b"OggS"):
        return _ogg_s(head, tail)
    found = sniff(head, audio if audio is not None else AudioFormat(), ended=True)
    if found is None or found.frame_bytes == 0 or found.format.sample_rate_hz == 0:
        return None
    there = size - found.header_bytes
    length = there if found.data_bytes is None else min(found.data_bytes, there)
    return length / (found.frame_bytes * found.format.sample_rate_hz)


def paced(
    path: Path,
    duration_s: float,
    step_s: float = 0.1,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Yield a recording in steps, none before it would have been spoken."""
    size = max(path.stat().st_size, 1)
    start_s, sent = clock(), 0
    piece_bytes = max(int(size * step_s / max(duration_s, step_s)), 1)
    with path.open("rb") as file:
        while piece := file.read(piece_bytes):
            sent += len(piece)
            sleep(max(start_s + duration_s * sent / size - clock(), 0.0))
            yield piece


def _flac_s(head: bytes) -> float | None:
    if len(head) < _STREAMINFO_BYTES:
        return None
    (packed,) = struct.unpack_from(">Q", head, 18)
    rate_hz, samples = packed >> 44, packed & ((1 << 36) - 1)
    return samples / rate_hz if rate_hz and samples else None


def _ogg_s(head: bytes, tail: bytes) -> float | None:
    opus = head.find(b"OpusHead")
    place = tail.rfind(b"OggS")
    if opus < 0 or len(head) < opus + 12 or place < 0 or len(tail) < place + 14:
        return None
    (pre_skip,) = struct.unpack_from("<H", head, opus + 10)
    (granule,) = struct.unpack_from("<q", tail, place + 6)
    return (granule - pre_skip) / _OPUS_RATE_HZ if granule > pre_skip else None
