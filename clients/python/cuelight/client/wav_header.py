"""What audio is, read from its first bytes: samples behind a WAV header, another container, or samples alone.

A live stream is kept until the server acknowledges it, counted in samples. That works for samples alone, so a WAV
header is read here, and what follows is sent as samples. Other containers go to the server as they are.

Source: Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (RIFF WAVE); WAVEFORMATEXTENSIBLE.
"""

import struct
from dataclasses import dataclass

from cuelight.client.speech_options import AudioFormat, Encoding

__all__ = ["MAX_HEADER_BYTES", "SniffedAudio", "sniff"]

MAX_HEADER_BYTES = 65_536
"""A WAV header that is longer, because of a picture or lyrics in front of the audio, is left to the server."""

WIDTH_BYTES: dict[Encoding, int] = {"": 2, "linear16": 2, "linear32": 4, "float32": 4, "mulaw": 1, "alaw": 1}
_CONTAINERS = (b"fLaC", b"OggS", b"RF64", b"RIFX")
_MAGIC_BYTES = 4
_ENCODING_OF_WAV: dict[tuple[int, int], Encoding] = {
    (1, 16): "linear16",
    (1, 32): "linear32",
    (3, 32): "float32",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
_EXTENSIBLE = 0xFFFE
_SUBFORMAT_END = 26
_UNKNOWN_LENGTHS = (0, 0x7FFFFFFF, 0xFFFFFFFF)
"""What writers that cannot seek back leave in place of the length."""


@dataclass(frozen=True, slots=True)
class SniffedAudio:
    """What the bytes after the first `header_bytes` are. `frame_bytes`: one sample of all channels; 0 in a container.

    `data_bytes` is where the samples end, after the header, or None if they go on to the end.
    """

    format: AudioFormat
    frame_bytes: int
    header_bytes: int = 0
    data_bytes: int | None = None


def sniff(head: bytes, said: AudioFormat, ended: bool) -> SniffedAudio | None:
    """Return what audio that begins with `head` is, or None while more of it is needed.

    `said` is the caller's word for it, which a header corrects; `ended` says that no more comes.
    """
    container = SniffedAudio(said, 0)
    if len(head) < _MAGIC_BYTES and not ended:
        return None
    if head[:_MAGIC_BYTES] in _CONTAINERS or said.encoding in {"flac", "ogg_opus"}:
        return container
    if head[:_MAGIC_BYTES] == b"RIFF":
        if len(head) < 12 and not ended:
            return None
        if head[8:12] == b"WAVE":
            found = _read_chunks(head, said)
            undecided = found is None and not ended and len(head) < MAX_HEADER_BYTES
            return None if undecided else found or container
    if said.encoding == "wav":
        return container
    return SniffedAudio(said, WIDTH_BYTES[said.encoding] * max(said.channel_count, 1))


def _read_chunks(head: bytes, said: AudioFormat) -> SniffedAudio | None:
    """Walk the chunks of a RIFF file up to its samples; None where they are not reached."""
    place, found = 12, None
    while place + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, place)
        body = place + 8
        if name == b"data":
            if found is None:
                return SniffedAudio(said, 0)
            encoding, rate_hz, channels = found
            length = None if size in _UNKNOWN_LENGTHS else size
            audio = AudioFormat(rate_hz, encoding, channels, said.channel)
            return SniffedAudio(audio, WIDTH_BYTES[encoding] * channels, body, length)
        if name == b"fmt ":
            if body + size > len(head):
                return None
            found = _read_format(head[body : body + size])
            if found is None:
                return SniffedAudio(said, 0)
        place = body + size + size % 2
    return None


def _read_format(body: bytes) -> tuple[Encoding, int, int] | None:
    """Return encoding, rate and channels, or None for what is not plain samples."""
    if len(body) < 16:
        return None
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= _SUBFORMAT_END:
        (tag,) = struct.unpack_from("<H", body, 24)
    encoding = _ENCODING_OF_WAV.get((tag, bits))
    return None if encoding is None or not channels or not rate_hz else (encoding, rate_hz, channels)
