"""Text that a caller or a library made, held to a length: what it begins and ends with says most."""

__all__ = ["cut_middle"]

_NOTE_BYTES = 64
"""Room for the note, whatever the numbers in it."""


def cut_middle(text: str, max_bytes: int) -> str:
    """Return the text in `max_bytes` of UTF-8 at most (128 or more): a longer one loses its middle, and says so."""
    if len(text) <= max_bytes and text.isascii():
        return text
    encoded = text.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return text
    half = (max_bytes - _NOTE_BYTES) // 2
    first, last = (part.decode(errors="ignore") for part in (encoded[:half], encoded[-half:]))
    return f"{first} [... {len(encoded) - 2 * half} of {len(encoded)} bytes cut ...] {last}"
