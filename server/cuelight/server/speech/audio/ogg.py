"""Ogg pages and the packets in them. Source: RFC 3533."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio.source import expect_magic

__all__ = ["MAX_PACKET_BYTES", "OggPage", "PacketAssembler", "PageSplitter", "page_crc"]

_HEADER_BYTES: Final = 27
_CONTINUED: Final = 0x01
_FIRST: Final = 0x02
_LAST: Final = 0x04

MAX_PACKET_BYTES: Final = 524_288
"""More than 120 ms of eight channels take. Of a longer packet, which can only be a comment, the beginning is kept."""


@dataclass(frozen=True, slots=True)
class OggPage:
    """One page. `granule` is the position at its end, -1 if no packet ends on it."""

    flags: int
    granule: int
    serial: int
    segments: bytes
    body: bytes

    @property
    def is_first(self) -> bool:
        """Whether a logical stream begins here."""
        return bool(self.flags & _FIRST)

    @property
    def is_last(self) -> bool:
        """Whether its logical stream ends here."""
        return bool(self.flags & _LAST)

    @property
    def is_continued(self) -> bool:
        """Whether its first packet began on the page before."""
        return bool(self.flags & _CONTINUED)


class PageSplitter:
    """Finds pages in bytes split anywhere. Holds less than one page, 65,307 bytes."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether the bytes so far end with a page."""
        return not self._pending

    def feed(self, data: bytes) -> Iterator[OggPage]:
        """Yield the pages that are whole. Raises: InvalidRequest for anything else, or a wrong checksum."""
        self._pending += data
        at = 0
        try:
            while (size := _page_bytes(self._pending, at)) is not None:
                page = bytes(self._pending[at : at + size])
                at += size
                yield _parse(page)
        finally:
            del self._pending[:at]


class PacketAssembler:
    """Joins the packets of one logical stream across its pages."""

    def __init__(self) -> None:
        self._partial: bytearray | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no packet waits for its rest."""
        return self._partial is None

    def packets(self, page: OggPage) -> Iterator[bytes]:
        """Yield the packets that end on the page. One whose beginning was never seen is left out."""
        if not page.is_continued:
            self._partial = None
        lost = page.is_continued and self._partial is None
        at = 0
        for size in page.segments:
            if self._partial is None:
                self._partial = bytearray()
            if len(self._partial) < MAX_PACKET_BYTES:
                self._partial += page.body[at : at + size]
            at += size
            if size < 255:
                packet, self._partial = bytes(self._partial), None
                if not lost:
                    yield packet
                lost = False
        if lost:
            self._partial = None


def page_crc(page: bytes) -> int:
    """Return the checksum of a page in which the checksum's own four bytes are 0.

    Ogg's polynomial is zlib's, its bits the other way round and neither inverted first nor last.
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


def _page_bytes(data: bytearray, at: int) -> int | None:
    """Return the size of the page at `at`, None if it has not come in full."""
    if at == len(data):
        return None
    expect_magic(bytes(data[at : at + 20]), b"OggS\0", "Ogg")
    if len(data) - at < _HEADER_BYTES:
        return None
    body = at + _HEADER_BYTES + data[at + 26]
    size = body - at + sum(data[at + _HEADER_BYTES : body])
    return size if len(data) - at >= size and len(data) >= body else None


def _parse(page: bytes) -> OggPage:
    crc = int.from_bytes(page[22:26], "little")
    computed = page_crc(page[:22] + bytes(4) + page[26:])
    number = int.from_bytes(page[18:22], "little")
    if crc != computed:
        raise InvalidRequest(f"Ogg: page {number} has checksum {crc:#010x}, its bytes give {computed:#010x}")
    body = _HEADER_BYTES + page[26]
    return OggPage(
        flags=page[5],
        granule=int.from_bytes(page[6:14], "little", signed=True),
        serial=int.from_bytes(page[14:18], "little"),
        segments=page[_HEADER_BYTES:body],
        body=page[body:],
    )


_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
