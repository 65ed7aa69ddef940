"""Places in a text, from code points to what other languages count."""

from itertools import accumulate

from cuelight.server.errors import InvalidRequest
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["OffsetTable"]

_BEYOND_BASIC_PLANE = 0x10000
_UTF8_LIMITS = (0x80, 0x800, _BEYOND_BASIC_PLANE)
"""From each of these code points on, a character takes a byte more. Source: RFC 3629, section 3."""


class OffsetTable:
    """Turns places that count code points of one text into places of another unit."""

    def __init__(self, text: str, unit: pb.OffsetUnit.ValueType) -> None:
        """Raises: InvalidRequest for a unit that there is not."""
        self._places: list[int] | None = None
        if unit not in pb.OffsetUnit.values():
            raise InvalidRequest(f"offset_unit: got {unit}, expected one of {', '.join(pb.OffsetUnit.keys()[1:])}")
        if text.isascii() or unit in (pb.OFFSET_UNIT_UNSPECIFIED, pb.CODE_POINTS):
            return
        size = _utf8_size if unit == pb.UTF8_BYTES else _utf16_size
        self._places = list(accumulate((size(ord(character)) for character in text), initial=0))

    def __getitem__(self, place: int) -> int:
        return place if self._places is None else self._places[place]


def _utf8_size(code_point: int) -> int:
    return 1 + sum(code_point >= limit for limit in _UTF8_LIMITS)


def _utf16_size(code_point: int) -> int:
    return 2 if code_point >= _BEYOND_BASIC_PLANE else 1
