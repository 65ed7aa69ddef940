"""A unary call as a value: path, request, and how the response is read. Sync and async clients make the same ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Call"]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A unary call that does no harm when it is made again."""

    path: str
    request: Any
    response_type: type
    read: Callable[[Any], Answer]
