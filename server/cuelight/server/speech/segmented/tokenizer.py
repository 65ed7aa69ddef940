"""Moonshine's tokens as text. Only the way back is needed: from ids to words."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cuelight.server.inference.loader import ModelLoadError

__all__ = ["Tokenizer", "read_tokenizer"]

_SPACE = "\u2581".encode()
_LONG = 128
"""A length from here on takes two bytes: the low seven bits first."""


class Tokenizer:
    """The vocabulary: token id -> the bytes it stands for; a word begins with a token that begins with U+2581."""

    def __init__(self, tokens: list[bytes]) -> None:
        self._tokens = [b"" if _is_special(token) else token for token in tokens]
        self.size = len(tokens)

    def begins_word(self, token: int) -> bool:
        """Whether the token is the first of a word."""
        return self._tokens[token].startswith(_SPACE)

    def text(self, ids: Iterable[int]) -> str:
        """Return the text of tokens, without a space in front or behind."""
        joined = b"".join(self._tokens[token] for token in ids).replace(_SPACE, b" ")
        return " ".join(joined.decode("utf-8", "ignore").split())


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a vocabulary: for each token its length in bytes (one byte, or two from 128 on) and its bytes.

    Raises: ModelLoadError naming the file and what is wrong with it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{path}: the tokenizer cannot be read: {error.strerror}") from error
    try:
        return Tokenizer(list(_entries(data)))
    except IndexError as error:
        raise ModelLoadError(f"{path}: the tokenizer ends in the middle of a token") from error


def _entries(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= _LONG:
            length, at = data[at] * _LONG + length - _LONG, at + 1
        if at + length > len(data):
            raise IndexError
        yield data[at : at + length]
        at += length


def _is_special(token: bytes) -> bool:
    return len(token) > 2 and token.startswith(b"<") and token.endswith(b">")
