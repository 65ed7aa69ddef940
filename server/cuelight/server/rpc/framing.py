"""gRPC's length-prefixed messages, without any I/O.

A message on the wire is a flag byte (1 = compressed), its length as a big-endian 32-bit integer and its bytes. Bodies
arrive cut anywhere, so `FrameDecoder` holds at most one unfinished message and hands on what is complete. A length
above the limit is refused as soon as its prefix is read, before a byte of the message is held; a compressed message may
not inflate beyond the same limit.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message"
"""

import asyncio
import zlib
from collections.abc import Iterator
from struct import Struct

from cuelight.server.errors import InvalidRequest, MessageTooLarge, Unsupported

__all__ = ["PREFIX_BYTES", "Frame", "FrameDecoder", "deflate", "frame", "gzip_frame", "inflate", "inflated"]

PREFIX_BYTES = 5

_PREFIX = Struct(">BI")
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 1
"""Fast: on tensors the higher levels cost ten times the time for a few percent."""

_INLINE_BYTES = 16 * 1024
"""Above this, compression could hold the event loop for a millisecond or more."""

Frame = tuple[bool, bytes]
"""Whether the message is compressed, and its bytes."""


def frame(message: bytes, compressed: bool = False) -> bytes:
    """Return the message with its prefix."""
    return _PREFIX.pack(compressed, len(message)) + message


async def gzip_frame(message: bytes) -> bytes:
    """Return the message compressed with its prefix; a large one is compressed on a thread."""
    if len(message) <= _INLINE_BYTES:
        return frame(deflate(message), True)
    return frame(await asyncio.to_thread(deflate, message), True)


class FrameDecoder:
    """Cuts a body into messages, however its chunks are split. Owned by one call."""

    __slots__ = ("_held", "_max_message_bytes")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._held = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Take the next chunk and yield every message that it completes.

        The iterator must be exhausted before the next chunk is fed.

        Raises: MessageTooLarge when a prefix announces more than the limit; InvalidRequest on an unknown flag.
        """
        if self._held:
            self._held += chunk
            data: bytes | bytearray = self._held
        else:
            data = chunk
        position, end = 0, len(data)
        try:
            while end - position >= PREFIX_BYTES:
                flag, length = _PREFIX.unpack_from(data, position)
                self._check_prefix(flag, length)
                start = position + PREFIX_BYTES
                if end - start < length:
                    break
                position = start + length
                yield flag == 1, bytes(data[start:position])
        finally:
            if data is self._held:
                del self._held[:position]
            elif position < end:
                self._held += data[position:]

    def finish(self) -> None:
        """Check that the body ended at the end of a message.

        Raises: InvalidRequest when it did not.
        """
        if self._held:
            raise InvalidRequest(f"the request ended inside a message: {len(self._held)} bytes of it came")

    def _check_prefix(self, flag: int, length: int) -> None:
        if flag > 1:
            raise InvalidRequest(f"the flag byte of a gRPC message is 0 or 1, got {flag}")
        if length > self._max_message_bytes:
            raise MessageTooLarge("received", length, self._max_message_bytes)


def deflate(message: bytes) -> bytes:
    """Return the message compressed with gzip."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    return compressor.compress(message) + compressor.flush()


def inflate(message: bytes, encoding: str, max_message_bytes: int) -> bytes:
    """Return what a compressed message holds; never more than `max_message_bytes` of it is inflated.

    Raises: Unsupported for an encoding other than gzip; MessageTooLarge beyond the limit; InvalidRequest when the bytes
    are not gzip.
    """
    if encoding == "identity":
        raise InvalidRequest("a message is flagged as compressed, but the call names no grpc-encoding")
    if encoding != "gzip":
        raise Unsupported(f'grpc-encoding "{encoding}": expected identity or gzip')
    decompressor = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        inflated = decompressor.decompress(message, max_message_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the {len(message)} bytes of a compressed message are not gzip") from error
    if len(inflated) > max_message_bytes:
        raise MessageTooLarge("received", len(inflated), max_message_bytes, at_least=True)
    if not decompressor.eof:
        raise InvalidRequest(f"the {len(message)} bytes of a compressed message end inside the gzip stream")
    return inflated


async def inflated(message: bytes, encoding: str, max_message_bytes: int) -> bytes:
    """Do what `inflate` does; on a thread when the message is large."""
    if len(message) <= _INLINE_BYTES:
        return inflate(message, encoding, max_message_bytes)
    return await asyncio.to_thread(inflate, message, encoding, max_message_bytes)
