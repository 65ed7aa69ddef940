"""The symbols of a model: from ids to text and timed words, and from a phrase to the ids that spell it.

The file is sherpa-onnx's tokens.txt: `symbol id` a line; a line of an id alone is the symbol space. Three kinds of
model share it. Word pieces mark the start of a word with U+2581; letters have a token for the space between words;
symbols such as Chinese characters have neither, and each of them is a word. Symbols `<0x41>` are the bytes of letters
that have no token of their own; where pieces are spelt in bytes throughout, each byte has a letter.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.speech.decoding.byte_letters import byte_of_letter, spelt_in_bytes
from cuelight.server.speech.decoding.confidence import confidence_of
from cuelight.server.speech.decoding.spelling import Spelling
from cuelight.server.speech.results import Word

__all__ = ["TokenTable"]

WORD_START = "\u2581"
BLANKS = ("<blk>", "<eps>", "<blank>")
UNKNOWN = "<unk>"
SILENT = frozenset({*BLANKS, UNKNOWN, "<sos/eos>", "<sos>", "<eos>", "<s>", "</s>", "<pad>", "<bos>"})
SEPARATORS = (" ", "|", "<space>")
LAST_TOKEN_FRAMES = 3
"""How long a word goes on after its last token: a token is told where it peaks, near its start (120 ms at 40 ms)."""

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_EAST_ASIAN = r"[\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff]"
_EAST_ASIAN_LETTER = re.compile(_EAST_ASIAN)
_SPACE_BETWEEN = re.compile(f"(?<={_EAST_ASIAN}) (?={_EAST_ASIAN})")


class TokenTable:
    """Symbols by id. `blank` is the id of silence, `unknown` that of `<unk>` or None."""

    def __init__(self, symbols: Mapping[int, str], blank: int) -> None:
        self.blank = blank
        self.size = max(symbols) + 1
        self.unknown = next((id_ for id_, symbol in symbols.items() if symbol == UNKNOWN), None)
        self.symbols = dict(symbols)
        self._marks_starts = any(symbol.startswith(WORD_START) for symbol in symbols.values())
        separator = None if self._marks_starts else next(filter(set(symbols.values()).__contains__, SEPARATORS), None)
        self._in_bytes = spelt_in_bytes(symbols.values())
        letters = byte_of_letter() if self._in_bytes else {}
        self._pieces = {id_: _piece(symbol, separator, letters) for id_, symbol in symbols.items()}
        self._spelling = Spelling({id_: piece for id_, piece in self._pieces.items() if piece})
        self._east_asian = {id_ for id_, piece in self._pieces.items() if _EAST_ASIAN_LETTER.search(_decoded(piece))}
        self._closes_up = bool(self._east_asian) or self._in_bytes or any(map(_BYTE.fullmatch, symbols.values()))
        """Whether texts may hold letters that stand without spaces between them."""
        self.word_starts = frozenset(id_ for id_, piece in self._pieces.items() if piece.startswith(b" "))
        """Tokens that begin a word whatever stands before them."""
        self._one_word_each = not any(piece.startswith(b" ") for piece in self._pieces.values())

    @classmethod
    def read(cls, path: Path) -> "TokenTable":
        """Read a tokens.txt.

        Raises: ModelLoadError naming the file and, where there is one, the line.
        """
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as exc:
            raise ModelLoadError(f"{path}: {exc.strerror}") from exc
        symbols: dict[int, str] = {}
        for number, line in enumerate(lines, 1):
            if line.strip():
                symbol, id_ = _entry(line, f"{path}:{number}")
                if id_ in symbols:
                    raise ModelLoadError(f"{path}:{number}: id {id_} is taken by {symbols[id_]!r}")
                symbols[id_] = symbol
        by_symbol = {symbol: id_ for id_, symbol in reversed(symbols.items())}
        blank = next((by_symbol[symbol] for symbol in BLANKS if symbol in by_symbol), None)
        if blank is None:
            raise ModelLoadError(f"{path}: expected one of {', '.join(BLANKS)} among the symbols, got none")
        return cls(symbols, blank)

    def text(self, ids: Sequence[int]) -> str:
        """Return what the ids spell, single spaces between words. Blanks, `<unk>` and ids unknown here are silent."""
        text = " ".join(_decoded(b"".join([self._pieces.get(id_, b"") for id_ in ids])).split())
        return _SPACE_BETWEEN.sub("", text) if self._closes_up else text

    def joined(self, text: str, following: str) -> str:
        """Return the text of tokens whose two parts, divided where a word begins, have those texts."""
        if not text or not following:
            return text or following
        if not self._closes_up:
            return f"{text} {following}"
        return f"{text[:-1]}{_SPACE_BETWEEN.sub('', f'{text[-1]} {following[0]}')}{following[1:]}"

    def words(
        self,
        ids: Sequence[int],
        frames: Sequence[int],
        log_probs: Sequence[float],
        frame_s: float,
        offset_s: float = 0.0,
    ) -> tuple[Word, ...]:
        """Return the words with their times and confidences; frame 0 is at `offset_s`.

        A word begins with its first token and ends a few frames after its last one, or where the next word begins.
        """
        spans = [
            (text, first, last)
            for first, last in self._spans(ids)
            if (text := _tidy(b"".join(self._pieces.get(id_, b"") for id_ in ids[first:last])))
        ]
        ends = [frames[first] for _, first, _ in spans[1:]]
        return tuple(
            Word(
                text=text,
                start_s=offset_s + frames[first] * frame_s,
                end_s=offset_s + _end(frames[last - 1], following) * frame_s,
                confidence=confidence_of(log_probs[first:last]),
            )
            for (text, first, last), following in zip_longest(spans, ends)
        )

    def encode(self, text: str) -> list[int] | None:
        """Spell a phrase in the fewest long tokens, as it is, else in capitals, else in small letters.

        None where the model has no tokens for it. A model may choose shorter tokens for the same words.
        """
        words = text.split()
        if not words:
            return None
        for form in (words, [word.upper() for word in words], [word.lower() for word in words]):
            ids = self._spelling.of(self._joined(form).encode())
            if ids is not None:
                return ids
        return None

    def _joined(self, words: Sequence[str]) -> str:
        """Put spaces where the model has them: before Chinese characters it has all, in bytes, or none."""
        if self._in_bytes:
            words = _EAST_ASIAN_LETTER.sub(r" \g<0> ", " ".join(words)).split()
        spelt = "".join(
            word if self._one_word_each or (_EAST_ASIAN_LETTER.match(word) and not self._in_bytes) else f" {word}"
            for word in words
        )
        return spelt if self._marks_starts else spelt.lstrip(" ")

    def _spans(self, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield [first, last) of each word; tokens that only separate words are in none."""
        first: int | None = None
        after_east_asian = False
        for index, id_ in enumerate(ids):
            piece = self._pieces.get(id_, b"")
            continues = piece and piece[0] & 0xC0 == 0x80  # a byte of UTF-8 that is not a letter's first
            alone = id_ in self._east_asian
            begins = piece.startswith(b" ") or alone or after_east_asian or (self._one_word_each and not continues)
            if begins and first is not None:
                yield first, index
                first = None
            if piece and first is None and not (piece == b" " and not self._marks_starts):
                first = index
            after_east_asian = alone
        if first is not None:
            yield first, len(ids)


def _entry(line: bytes, where: str) -> tuple[str, int]:
    # bytes.split knows ASCII's spaces alone: a symbol may be a space of another script
    parts = line.split()
    if len(parts) > 2:
        raise ModelLoadError(f"{where}: expected `symbol id`, got {line.decode(errors='replace').strip()!r}")
    try:
        symbol = parts[0].decode() if len(parts) == 2 else " "
        return symbol, _number(parts[-1])
    except ValueError as exc:
        got = line.decode(errors="replace").strip()
        raise ModelLoadError(f"{where}: expected UTF-8 `symbol id`, got {got!r}") from exc


def _number(digits: bytes) -> int:
    if not digits.isdigit():
        raise ValueError("not a number")
    return int(digits)


def _piece(symbol: str, separator: str | None, letters: Mapping[str, int]) -> bytes:
    if symbol in SILENT:
        return b""
    if symbol == separator:
        return b" "
    if byte := _BYTE.fullmatch(symbol):
        return bytes([int(byte[1], 16)])
    text = symbol.replace(WORD_START, " ")
    return b"".join(bytes([letters[letter]]) if letter in letters else letter.encode() for letter in text)


def _decoded(spelt: bytes) -> str:
    # a letter of several bytes of which not all have come yet is left out
    return spelt.decode(errors="ignore")


def _tidy(spelt: bytes) -> str:
    return _SPACE_BETWEEN.sub("", " ".join(_decoded(spelt).split()))


def _end(last: int, following: int | None) -> int:
    end = last + LAST_TOKEN_FRAMES
    return end if following is None else min(end, following)
