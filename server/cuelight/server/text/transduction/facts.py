"""What an encoder-decoder model says of itself, in `cuelight.transduction`, and its vocabularies."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.loader import ModelLoadError

__all__ = ["KEY", "TransductionFacts", "read_facts"]

KEY = "cuelight.transduction"

_TEXTS = ("decoder", "source_vocabulary", "source_unit", "source_end", "target_vocabulary", "start", "end", "joiner")
_COUNTS = ("max_source_tokens", "max_tokens")
_FLAGS = ("lowercase",)
_SOURCE_UNIT = "character"


@dataclass(frozen=True, slots=True)
class TransductionFacts:
    """`source` maps a symbol to its number, `target` has the token of each number.

    `max_source_tokens` counts the end that is put behind a source, `max_tokens` does not count that of an output.
    """

    decoder: str
    source: Mapping[str, int]
    source_end: str
    lowercase: bool
    max_source_tokens: int
    target: tuple[str, ...]
    start: int
    end: int
    joiner: str
    max_tokens: int

    def symbols(self, text: str) -> list[str]:
        """Return a text as the model sees it: its symbols and the end.

        Raises: InvalidRequest for nothing but white space, too long a text, or a symbol that the model does not know.
        """
        if not text.strip():
            raise InvalidRequest(f"text: expected a text, got {'white space' if text else 'an empty one'}")
        most = self.max_source_tokens - 1
        if len(text) > most:
            raise InvalidRequest(f"text: expected at most {most} characters, got {len(text)}")
        symbols = list(text.lower() if self.lowercase else text)
        for place, symbol in enumerate(symbols):
            if symbol not in self.source:
                raise InvalidRequest(
                    f"text: character {place} is {symbol!r}, which the model does not know; it knows {self._known()}"
                )
        return [*symbols, self.source_end]

    def joined(self, tokens: list[int]) -> str:
        """Return an output as one text."""
        return self.joiner.join(self.target[token] for token in tokens)

    def _known(self) -> str:
        return "".join(symbol for symbol in self.source if len(symbol) == 1)


def read_facts(metadata: Mapping[str, str], directory: Path) -> TransductionFacts:
    """Read the facts and the vocabularies of the version in `directory`.

    Raises: ModelLoadError naming the file or the key, what came and what was expected.
    """
    where = f'{directory}: metadata "{KEY}"'
    said = _said(metadata.get(KEY, ""), where)
    if said["source_unit"] != _SOURCE_UNIT:
        raise ModelLoadError(f'{where}: source_unit: got {said["source_unit"]!r}, expected "{_SOURCE_UNIT}"')
    source = _numbers(directory / said["source_vocabulary"])
    target = _numbers(directory / said["target_vocabulary"])
    for key, vocabulary in (("source_end", source), ("start", target), ("end", target)):
        if said[key] not in vocabulary:
            raise ModelLoadError(f"{where}: {key}: {said[key]!r} is not in its vocabulary")
    return TransductionFacts(
        decoder=said["decoder"],
        source=source,
        source_end=said["source_end"],
        lowercase=said["lowercase"],
        max_source_tokens=said["max_source_tokens"],
        target=tuple(target),
        start=target[said["start"]],
        end=target[said["end"]],
        joiner=said["joiner"],
        max_tokens=said["max_tokens"],
    )


def _said(text: str, where: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{where}: not JSON: {error}") from error
    expected = {*_TEXTS, *_COUNTS, *_FLAGS}
    if not isinstance(said, dict) or set(said) != expected:
        raise ModelLoadError(f"{where}: expected an object with the keys {', '.join(sorted(expected))}")
    for keys, kind, word in ((_TEXTS, str, "a string"), (_COUNTS, int, "a whole number"), (_FLAGS, bool, "a boolean")):
        for key in keys:
            if type(said[key]) is not kind:
                raise ModelLoadError(f"{where}: {key}: got {said[key]!r}, expected {word}")
    for key in _COUNTS:
        if said[key] < 2:
            raise ModelLoadError(f"{where}: {key}: got {said[key]}, expected 2 or more")
    for key in ("decoder", "source_vocabulary", "target_vocabulary"):
        if Path(said[key]).name != said[key]:
            raise ModelLoadError(f"{where}: {key}: got {said[key]!r}, expected the name of a file beside the model")
    return said


def _numbers(path: Path) -> dict[str, int]:
    """Return the tokens of a vocabulary file, a line each, with their numbers, in their order."""
    try:
        tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path}: cannot be read: {error}") from error
    numbers = {token: number for number, token in enumerate(tokens)}
    if len(numbers) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if numbers[token] != number)
        raise ModelLoadError(f"{path}: {twice!r} is there twice")
    return numbers
