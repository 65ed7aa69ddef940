"""Calls as values: path, request, and how the response is read, so that clients of both kinds make the same ones."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

__all__ = ["Call", "pieces_of"]

Answer = TypeVar("Answer")
Piece = TypeVar("Piece")


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A unary call that does no harm when it is made again."""

    path: str
    request: Any
    response_type: type
    read: Callable[[Any], Answer]


def pieces_of(pieces: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Yield so many at a time, in their order; the last ones may be fewer."""
    left = iter(pieces)
    while cut := list(islice(left, size)):
        yield cut
