"""Which texts a call may hold. Each error names the field and the index, what was expected and what came."""

from collections.abc import Sequence

from cuelight.server.config import TextConfig
from cuelight.server.errors import InvalidRequest

__all__ = ["check_call", "check_count", "check_text", "size_of"]

_MAX_BYTES_A_CHARACTER = 4


def check_count(count: int, limits: TextConfig) -> None:
    """Check how many texts a call has, before anything is done for each of them: a message has room for millions.

    Raises: InvalidRequest when there is none, or more than a call may hold.
    """
    if not count:
        raise InvalidRequest("texts: expected at least one text, got none")
    if count > limits.max_texts:
        raise InvalidRequest(f"texts: expected at most {limits.max_texts} in a call, got {count}")


def check_call(texts: Sequence[str], limits: TextConfig) -> int:
    """Check all texts of a call together, and return how many bytes they have.

    Raises: InvalidRequest when there is none, or more than a call may hold, by number or by bytes.
    """
    check_count(len(texts), limits)
    size_bytes = sum(map(size_of, texts))
    if size_bytes > limits.max_call_bytes:
        raise InvalidRequest(f"texts: expected at most {limits.max_call_bytes} bytes in a call, got {size_bytes}")
    return size_bytes


def check_text(text: str, where: str, limits: TextConfig) -> None:
    """Raise InvalidRequest for a text that is none, or one too long to be looked at."""
    if not text or text.isspace():
        came = "an empty one" if not text else "nothing but white space"
        raise InvalidRequest(f"{where}: expected a text, got {came}")
    if len(text) * _MAX_BYTES_A_CHARACTER > limits.max_text_bytes:
        size_bytes = size_of(text)
        if size_bytes > limits.max_text_bytes:
            raise InvalidRequest(f"{where}: expected at most {limits.max_text_bytes} bytes, got {size_bytes}")


def size_of(text: str) -> int:
    """Return how many bytes of UTF-8 a text has."""
    return len(text) if text.isascii() else len(text.encode())
