"""The bytes of one stream, in whatever encoding, as blocks of samples: what every reader here offers."""

from collections.abc import Iterator
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest

__all__ = ["BLOCK_SAMPLES", "AnySamples", "Block", "Source", "expect_magic"]

AnySamples = NDArray[Any]
"""(n,) float32 of full scale 1; or int16 as they came, where whoever takes them can do with that."""

Block = AnySamples
"""(instants, channels), full scale 1; or integers, if they were asked for."""

BLOCK_SAMPLES: Final = 16_384
"""Samples of raw audio that are converted at once, about a millisecond's work, whatever the size of a message."""


class Source(Protocol):
    """A reader of one encoding. It is fed bytes split anywhere and gives blocks as they are asked for, so that a small
    message that unfolds into hours of silence never does so in memory."""

    @property
    def rate_hz(self) -> int | None:
        """Instants a second; None until the header has come."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether the stream ended in the middle of something. Known after `finish`."""
        ...

    def feed(self, data: bytes) -> Iterator[Block]:
        """Yield what can be decoded now; has to be read to its end before the next call."""
        ...

    def finish(self) -> Iterator[Block]:
        """Yield what was held back: no bytes come any more."""
        ...


def expect_magic(head: bytes, expected: bytes, encoding: str) -> None:
    """Raise InvalidRequest if `head`, the first bytes of a stream, cannot be the beginning of `encoding`."""
    compared = head[: len(expected)]
    if not expected.startswith(compared):
        kind = ", which is text" if head.isascii() and head.decode("ascii").isprintable() else ""
        raise InvalidRequest(f"{encoding}: expected {expected!r} first, got {head[:16]!r}{kind}")
