"""Many numbers into a message at once: on the wire a packed `repeated float` is the array's own bytes.

Source: protobuf.dev/programming-guides/encoding, "Packed Repeated Fields".
"""

from typing import Any

from google.protobuf.message import Message
from numpy.typing import NDArray

__all__ = ["put_floats"]

_LENGTH_DELIMITED = 2
_MORE = 0x80


def put_floats(message: Message, field: str, values: NDArray[Any]) -> None:
    """Append values, in C order, to a field `repeated float`: as `extend`, without an object for each number."""
    body = values.astype("<f4", copy=False).tobytes()
    number = message.DESCRIPTOR.fields_by_name[field].number
    message.MergeFromString(_varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(body)) + body)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= _MORE:
        parts.append(value & (_MORE - 1) | _MORE)
        value >>= 7
    parts.append(value)
    return bytes(parts)
