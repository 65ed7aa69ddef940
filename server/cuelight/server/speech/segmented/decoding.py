"""What becomes of one window's decode, token by token: drafts, greedy choice, and when it has to stop. Pure.

A *draft* is what the window before it was recognized as. The decoder consumes all of it at once; what it would have
chosen itself is kept, up to the first difference, so the outcome is that of decoding from nothing, for the price of the
words that are new. (With 8-bit weights a near tie may fall the other way: see `moonshine`.) The first `forced` tokens
of a draft are kept whatever the decoder thinks of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.segmented.moonshine import END

__all__ = ["Decode", "Transcript", "longest_tokens", "repeats"]

_TOKENS_PER_S = 6.5
"""More than anybody speaks. Source: Moonshine's reference decoder."""
_SLACK_TOKENS = 8
_LONGEST_BLOCK = 12
_BLOCK_TIMES, _SHORT_BLOCK_TIMES = 3, 8
_SHORT_BLOCK = 2
"""Blocks of one or two tokens may well be repeated: "no, no, no", "1,000,000"."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was recognized, without start and end token; `confidence` is the mean probability of a token, 0 to 1."""

    tokens: tuple[int, ...]
    confidence: float


def longest_tokens(duration_s: float) -> int:
    """Return how many tokens a window of that length may give."""
    return math.ceil(duration_s * _TOKENS_PER_S) + _SLACK_TOKENS


def repeats(tokens: Sequence[int]) -> int:
    """Return how many tokens at the end only repeat what stands before them so often that the decoder is in a loop."""
    for size in range(1, _LONGEST_BLOCK + 1):
        times = _SHORT_BLOCK_TIMES if size <= _SHORT_BLOCK else _BLOCK_TIMES
        if len(tokens) < size * times:
            continue
        block = tokens[-size:]
        if all(tokens[len(tokens) - size * (at + 1) : len(tokens) - size * at] == block for at in range(times)):
            return size * (times - 1)
    return 0


@dataclass(slots=True)
class Decode:
    """The tokens chosen so far. `limit` is how many there may be."""

    draft: tuple[int, ...]
    forced: int
    limit: int
    tokens: list[int] = field(default_factory=list)
    done: bool = False
    _log_probability: float = 0.0
    _scored: int = 0

    def verify(self, logits: NDArray[np.float32]) -> int:
        """Take the logits behind the start token and each token of the draft; return how many of the draft hold.

        One more token is chosen then, from the logits behind the last one that holds.
        """
        chosen = logits.argmax(axis=1)
        held = 0
        while held < len(self.draft) and (held < self.forced or int(chosen[held]) == self.draft[held]):
            self._score(logits[held], self.draft[held])
            held += 1
        self.tokens = list(self.draft[:held])
        self.choose(logits[held])
        return held

    def choose(self, logits: NDArray[np.float32]) -> None:
        """Take the logits behind the last token and choose the next."""
        token = int(logits.argmax())
        self._score(logits, token)
        if token == END:
            self.done = True
            return
        self.tokens.append(token)
        surplus = repeats(self.tokens)
        if surplus and len(self.tokens) - surplus >= self.forced:
            del self.tokens[len(self.tokens) - surplus :]
            self.done = True
        self.done |= len(self.tokens) >= self.limit

    def transcript(self) -> Transcript:
        """Return the outcome."""
        confidence = math.exp(self._log_probability / self._scored) if self._scored else 0.0
        return Transcript(tuple(self.tokens), min(1.0, confidence))

    def _score(self, logits: NDArray[np.float32], token: int) -> None:
        top = float(logits.max())
        self._log_probability += float(logits[token]) - top - math.log(float(np.exp(logits - top).sum()))
        self._scored += 1
