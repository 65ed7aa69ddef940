"""Ogg Opus, page by page as the bytes come. Source: RFC 7845.

States of a logical stream: the identification header, the comment (passed over), audio. One stream may follow another,
as on the radio. Opus decodes at 48 kHz whatever it was made from. Samples before `pre-skip` and behind the last page's
granule position are not heard.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio.codec import PacketDecoder
from cuelight.server.speech.audio.format import check_channel_count
from cuelight.server.speech.audio.ogg import MAX_PACKET_BYTES, OggPage, PacketAssembler, PageSplitter
from cuelight.server.speech.audio.source import Block

__all__ = ["OPUS_RATE_HZ", "OggOpusReader"]

OPUS_RATE_HZ: Final = 48_000
_MAX_PACKET_INSTANTS: Final = 5_760
"""120 ms, the longest packet there is."""

_DECODERS: Final = ("libopus", "opus")
_SKELETON: Final = b"fishead\0"
_OTHER_CODECS: Final = {
    b"\x01vorbis": "Vorbis",
    b"\x7fFLAC": "FLAC in Ogg",
    b"Speex   ": "Speex",
    b"\x80theora": "Theora",
}


class OggOpusReader:
    """Decodes one Opus stream after another. Holds less than a page and one packet."""

    def __init__(self) -> None:
        self._pages = PageSplitter()
        self._link: _Link | None = None
        self._channels: int | None = None
        self._truncated = False

    @property
    def rate_hz(self) -> int | None:
        """48,000 once the header has come."""
        return OPUS_RATE_HZ if self._link is not None else None

    @property
    def truncated(self) -> bool:
        """Whether the stream ended within a page or a packet."""
        return self._truncated

    def feed(self, data: bytes) -> Iterator[Block]:
        """Yield blocks (instants, channels). Raises: InvalidRequest if this is no Ogg Opus."""
        for page in self._pages.feed(data):
            if page.is_first and (self._link is None or self._link.ended) and not page.body.startswith(_SKELETON):
                self._begin(page)
            elif self._link is not None and page.serial == self._link.serial:
                yield from self._link.decode(page)

    def finish(self) -> Iterator[Block]:
        """Yield nothing. Raises: InvalidRequest if the header has not come."""
        if self._link is None:
            raise InvalidRequest("Ogg: the stream ends within the header, before any audio")
        self._truncated = not (self._pages.is_empty and self._link.is_whole)
        return iter(())

    def _begin(self, page: OggPage) -> None:
        self._link = _Link(page)
        if self._channels not in {None, self._link.channels}:
            raise InvalidRequest(
                f"Ogg Opus: {self._link.channels} channels in a stream that follows one of {self._channels}"
            )
        self._channels = self._link.channels


class _Link:
    """One logical stream."""

    def __init__(self, page: OggPage) -> None:
        head = page.body
        _expect_opus(head)
        self.serial = page.serial
        self.channels = head[9]
        self.ended = page.is_last
        check_channel_count(self.channels, "Ogg Opus: channels")
        self._skip = int.from_bytes(head[10:12], "little")
        # FFmpeg would skip, too, if it knew.
        extradata = head[:10] + bytes(2) + head[12:]
        options = {"request_sample_fmt": "flt"}
        self._decoder = PacketDecoder(_DECODERS, extradata, OPUS_RATE_HZ, self.channels, options)
        self._packets = PacketAssembler()
        self._packets_came = 0
        self._granule: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether no packet waits for its rest."""
        return self._packets.is_empty

    def decode(self, page: OggPage) -> Iterator[Block]:
        """Yield the audio of one page, packet by packet."""
        self.ended = page.is_last
        left = self._instants_to_keep(page)
        for packet in self._packets.packets(page):
            self._packets_came += 1
            if self._packets_came == 1:
                _expect_tags(packet)
            elif packet:
                block = self._packet(packet)[:left]
                left = None if left is None else left - block.shape[0]
                skipped = min(self._skip, block.shape[0])
                self._skip -= skipped
                yield block[skipped:]
        if page.granule >= 0 and self._packets_came > 1:
            self._granule = page.granule

    def _instants_to_keep(self, page: OggPage) -> int | None:
        """Return where the last page ends, counted from its beginning; None keeps all."""
        if not page.is_last or page.granule < 0:
            return None
        return max(0, page.granule - (self._granule or 0))

    def _packet(self, packet: bytes) -> Block:
        what = f"Ogg Opus: packet {self._packets_came - 2}"
        if len(packet) >= MAX_PACKET_BYTES:
            raise InvalidRequest(f"{what} has {len(packet)} bytes or more, expected fewer than {MAX_PACKET_BYTES}")
        block = self._decoder.decode(packet, what)
        if block.shape[0] > _MAX_PACKET_INSTANTS:
            raise InvalidRequest(f"{what} has {block.shape[0]} samples, expected at most {_MAX_PACKET_INSTANTS}")
        return np.ascontiguousarray(block)


def _expect_opus(head: bytes) -> None:
    if not head.startswith(b"OpusHead"):
        codec = next((name for magic, name in _OTHER_CODECS.items() if head.startswith(magic)), repr(head[:8]))
        raise InvalidRequest(f"Ogg: expected Opus, got {codec}")
    if len(head) < 19 or head[8] > 15:
        raise InvalidRequest(f"Ogg Opus: expected a header of version 1 and 19 bytes, got {head[:19]!r}")


def _expect_tags(packet: bytes) -> None:
    if not packet.startswith(b"OpusTags"):
        raise InvalidRequest(f"Ogg Opus: expected b'OpusTags' in the second packet, got {packet[:8]!r}")
