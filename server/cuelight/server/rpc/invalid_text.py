"""Which text of a message that does not parse is not UTF-8: the message is read once more, by its descriptor.

The library says only that a message does not parse. This is for the error's text, and is run for such messages alone.
What a message may cost is bounded, for it is read on the event loop and whoever sends garbage may send much of it: who
has put the fault behind more fields than are looked at is told no more than that it does not parse.

Source: protobuf.dev/programming-guides/encoding.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

__all__ = ["invalid_text"]

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_DEPTH = 32
"""More than any message of ours is deep."""
_MAX_FIELDS = 10_000
"""Of one message and those in it: they take about 10 ms."""
_MAX_VARINT_BITS = 64

Budget = Iterator[None]


def invalid_text(body: bytes, descriptor: Any) -> str | None:
    """Return where the first text is that is not UTF-8, and what is wrong: `texts[3]: expected UTF-8, ...`.

    `descriptor` is the message type's, in whichever of the library's forms.

    None where there is no such text among the first fields, or the bytes are no message at all.
    """
    return _in_message(body, descriptor, "", 0, repeat(None, _MAX_FIELDS))


def _in_message(body: bytes, descriptor: Any, path: str, depth: int, budget: Budget) -> str | None:
    """Look through a message's fields, each of which takes one of the budget, that all of them share."""
    seen: Counter[int] = Counter()
    place = 0
    try:
        while place < len(body) and depth < _MAX_DEPTH:
            next(budget)
            key, place = _varint(body, place)
            number, wire_type = key >> 3, key & 7
            if wire_type == _VARINT:
                _, place = _varint(body, place)
                continue
            size, place = _varint(body, place) if wire_type == _LENGTH_DELIMITED else (_FIXED_SIZES[wire_type], place)
            content, place = body[place : place + size], place + size
            field = descriptor.fields_by_number.get(number)
            if field is None or wire_type != _LENGTH_DELIMITED:
                continue
            name = f"{path}{field.name}[{seen[number]}]" if field.is_repeated else f"{path}{field.name}"
            seen[number] += 1
            found = _in_field(content, field, name, depth, budget)
            if found is not None:
                return found
    except (IndexError, KeyError, StopIteration):
        pass  # cut off, too long, or of a kind that messages of today do not have: it is more than a text that is wrong
    return None


def _in_field(content: bytes, field: FieldDescriptor, name: str, depth: int, budget: Budget) -> str | None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _in_message(content, field.message_type, f"{name}.", depth + 1, budget)
    if field.type == FieldDescriptor.TYPE_STRING:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            return f"{name}: expected UTF-8, got byte 0x{content[error.start]:02x} at {error.start}"
    return None


def _varint(body: bytes, place: int) -> tuple[int, int]:
    """Return the number that begins at a place, and where it ends. Raises: IndexError for one that has no end."""
    value = shift = 0
    while shift < _MAX_VARINT_BITS:
        byte = body[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise IndexError
