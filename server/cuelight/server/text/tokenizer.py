"""A model's tokenizer: text to token ids, with the places that they come from.

It is a file of the library `tokenizers`, which is loaded with the first model that needs it. The file's own truncation
and padding are left aside: what is cut off is decided here, and said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuelight.server.inference.loader import ModelLoadError

__all__ = ["EncodedText", "TextTokenizer", "Tokens", "read_tokenizer"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text's tokens, in order. `starts` and `ends` count code points of the text; markers have both 0."""

    ids: list[int]
    tokens: list[str]
    starts: list[int]
    ends: list[int]
    special: list[bool]


@dataclass(frozen=True, slots=True)
class EncodedText:
    """What a model takes for one text: at most so many ids as it takes; `full_count` is how many there were."""

    ids: list[int]
    full_count: int

    @property
    def truncated(self) -> bool:
        """Whether tokens were cut off."""
        return self.full_count > len(self.ids)


class TextTokenizer:
    """Immutable once read; may be used from any thread.

    Encoding releases the interpreter lock, for it is asked of the library by batches alone: a text by itself is encoded
    holding it, and with it everybody else.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[EncodedText]:
        """Return each text's ids, markers included; of a long text the first, and the markers at its end."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [self._cut(encoding, max_tokens) for encoding in encodings]

    def tokens(self, text: str, *, special: bool = True) -> Tokens:
        """Return all tokens of a text, with or without the markers that frame it."""
        (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=special)
        starts, ends = zip(*encoding.offsets, strict=True) if encoding.ids else ((), ())
        marks = [bool(mark) for mark in encoding.special_tokens_mask]
        return Tokens(list(encoding.ids), list(encoding.tokens), list(starts), list(ends), marks)

    def token(self, token_id: int) -> str:
        """Return a token as the vocabulary has it."""
        return str(self._tokenizer.id_to_token(token_id))

    def _cut(self, encoding: Any, max_tokens: int) -> EncodedText:
        ids: list[int] = encoding.ids
        if len(ids) <= max_tokens:
            return EncodedText(ids, len(ids))
        marks = encoding.special_tokens_mask
        closing = next((place for place, mark in enumerate(reversed(marks)) if not mark), 0)
        kept = ids[: max_tokens - closing] + (ids[-closing:] if closing else [])
        return EncodedText(kept, len(ids))


def read_tokenizer(path: Path) -> TextTokenizer:
    """Read a tokenizer's file.

    Raises: ModelLoadError naming the file and what is wrong: it is not there, it is none, or the library is missing.
    """
    if not path.is_file():
        raise ModelLoadError(f'{path}: no such file; metadata "cuelight.tokenizer" names it')
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 (only models of text need it)
    except ModuleNotFoundError as error:
        raise ModelLoadError(f'{path}: needs the library tokenizers: pip install "cuelight[server]"') from error
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises plain Exception for whatever it cannot read.
        raise ModelLoadError(f"{path}: not a tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return TextTokenizer(tokenizer)
