"""How gRPC writes its metadata, timeouts and statuses into HTTP headers, without any I/O.

Headers are pairs of bytes as ASGI carries them, names in lower case.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import base64
import binascii
from collections.abc import Iterable, Iterator

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.context import Metadata
from cuelight.server.rpc.status import Status, StatusCode

__all__ = [
    "Headers",
    "encode_metadata",
    "is_grpc_content_type",
    "parse_metadata",
    "parse_timeout_s",
    "percent_encode",
    "status_headers",
]

Headers = Iterable[tuple[bytes, bytes]]

_TIMEOUT_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MAX_TIMEOUT_DIGITS = 8
_RESERVED_NAMES = frozenset((b"host", b"content-type", b"content-length", b"te", b"connection", b"transfer-encoding"))
_RESERVED_PREFIXES = (b":", b"grpc-")
_UNESCAPED = frozenset(range(0x20, 0x7F)) - {0x25}
_PERCENT_ENCODED = [chr(byte) if byte in _UNESCAPED else f"%{byte:02X}" for byte in range(256)]


def is_grpc_content_type(content_type: bytes) -> bool:
    """Whether the body is gRPC with protobuf messages: `application/grpc` or `application/grpc+proto`."""
    return content_type.split(b";", 1)[0].strip().lower() in (b"application/grpc", b"application/grpc+proto")


def parse_timeout_s(value: bytes) -> float:
    """Return a `grpc-timeout` such as `1500m` in seconds.

    Raises: InvalidRequest unless it is one to eight digits and a unit of H, M, S, m, u, n.
    """
    digits, unit = value[:-1], value[-1:]
    if unit in _TIMEOUT_UNITS_S and digits.isdigit() and len(digits) <= _MAX_TIMEOUT_DIGITS:
        return int(digits) * _TIMEOUT_UNITS_S[unit]
    shown = value.decode("latin-1")
    raise InvalidRequest(f'grpc-timeout: expected up to 8 digits and one of H M S m u n, got "{shown}"')


def parse_metadata(headers: Headers) -> Metadata:
    """Return the caller's metadata; names that belong to HTTP or gRPC are left out.

    A `-bin` value is base64 with or without padding, and may hold several values joined by commas.

    Raises: InvalidRequest when a `-bin` value is not base64.
    """
    return tuple(_pairs(headers))


def _pairs(headers: Headers) -> Iterator[tuple[str, str | bytes]]:
    for name, value in headers:
        if name in _RESERVED_NAMES or name.startswith(_RESERVED_PREFIXES):
            continue
        key = name.decode("latin-1")
        if name.endswith(b"-bin"):
            for part in value.split(b","):
                yield key, _decode_binary(key, part.strip())
        else:
            yield key, value.decode("latin-1")


def _decode_binary(key: str, value: bytes) -> bytes:
    unpadded = value.rstrip(b"=")
    try:
        return base64.b64decode(unpadded + b"=" * (-len(unpadded) % 4), validate=True)
    except binascii.Error as error:
        raise InvalidRequest(f'metadata "{key}": the value is not base64') from error


def encode_metadata(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Return metadata as headers; the value of a `-bin` key becomes base64 without padding.

    Raises: ValueError when a key or value cannot be a header.
    """
    return [(_header_name(key), _header_value(key, value)) for key, value in metadata]


def _header_name(key: str) -> bytes:
    name = key.lower().encode("ascii")
    if name in _RESERVED_NAMES or name in (b"grpc-status", b"grpc-message", b"grpc-encoding"):
        raise ValueError(f'metadata "{key}": the name is reserved')
    return name


def _header_value(key: str, value: str | bytes) -> bytes:
    if key.endswith("-bin"):
        raw = value if isinstance(value, bytes) else value.encode()
        return base64.b64encode(raw).rstrip(b"=")
    encoded = value.encode("ascii") if isinstance(value, str) else value
    if not all(0x20 <= byte <= 0x7E for byte in encoded):
        raise ValueError(f'metadata "{key}": expected printable ASCII, use a key that ends in -bin for bytes')
    return encoded


def percent_encode(message: str) -> bytes:
    """Return a status message as a header value: UTF-8, everything but printable ASCII and `%` itself escaped."""
    return "".join([_PERCENT_ENCODED[byte] for byte in message.encode("utf-8", "replace")]).encode("ascii")


def status_headers(status: Status) -> list[tuple[bytes, bytes]]:
    """Return a status as the headers of its trailers."""
    headers = [(b"grpc-status", b"%d" % status.code)]
    if status.code is not StatusCode.OK:
        headers.append((b"grpc-message", percent_encode(status.message)))
    return headers + encode_metadata(status.trailing_metadata)
