"""The few HTTP/2 frames that a gRPC caller on a connection of its own needs. Source: RFC 9113, RFC 7541."""

from struct import Struct

__all__ = [
    "ACK",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADER",
    "HEADERS",
    "PING",
    "PREFACE",
    "PREFIX_BYTES",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "frame",
    "opening",
    "window_of_any_size",
]

HEADER = Struct(">IBI")
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
PREFIX_BYTES = 5
"""Of a gRPC message: a flag and its length."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
_INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame."""
    return HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def opening(path: str) -> bytes:
    """Return what opens a connection and its stream 1, a call of `path`; the windows announced are never used up."""
    return PREFACE + window_of_any_size() + frame(HEADERS, END_HEADERS, 1, _header_block(path))


def window_of_any_size() -> bytes:
    """Return what tells the other side that all it sends will be read."""
    settings = _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _LARGEST_WINDOW.to_bytes(4, "big")
    window = (_LARGEST_WINDOW - _FIRST_WINDOW).to_bytes(4, "big")
    return frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window)


def _header_block(path: str) -> bytes:
    """Return the request's headers, each a literal that is not indexed."""
    pairs = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "127.0.0.1",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in pairs.items()
    )
