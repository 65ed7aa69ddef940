"""Letters that stand for bytes: how a vocabulary of 256 letters spells any script.

Printable ASCII stands for itself; the other bytes, in order, are the letters from U+0100 on that Unicode's
normalization form NFKC leaves as they are. Source: icefall, byte_utils.py; sherpa-onnx, bbpe.cc, whose table this is.
"""

import unicodedata
from collections.abc import Iterable

__all__ = ["byte_of_letter", "spelt_in_bytes"]

_FIRST_LETTER = 0x100
_LAST_LEAD_BYTE = 0xC6
"""The first byte, in UTF-8, of the last of the letters."""


def byte_of_letter() -> dict[str, int]:
    """Return what each of the 256 letters stands for."""
    letters = (
        letter for letter in map(chr, range(_FIRST_LETTER, 0x200)) if unicodedata.normalize("NFKC", letter) == letter
    )
    return {chr(byte) if 0x20 <= byte < 0x7F else next(letters): byte for byte in range(256)}


def spelt_in_bytes(symbols: Iterable[str]) -> bool:
    """Return whether a vocabulary is spelt so: the last of the letters' lead bytes is there, and none is beyond it.

    Source: sherpa-onnx, symbol-table.cc, IsByteBPE.
    """
    highest = max((max(symbol.lstrip("\u2581").encode(), default=0) for symbol in symbols), default=0)
    return highest == _LAST_LEAD_BYTE
