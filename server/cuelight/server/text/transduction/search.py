"""What a search is, whichever rules it follows: hypotheses that grow by a token a step, all of them together.

A search says which tokens its live hypotheses feed to the decoder; it is then shown what the decoder thinks comes next
and says which hypothesis each of the new live ones continues, because the decoder's states have to follow. The rules
are pure: no clock, no session, and of a request nothing but its limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hypothesis", "Search", "Token"]

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an output: its number, its log-probability given those before it, and where it looked."""

    number: int
    log_probability: float
    attention: Array | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An output, or the beginning of one. `score` is the sum of the log-probabilities, that of the end included.

    `complete` is whether the model has said the end.
    """

    tokens: tuple[Token, ...] = ()
    score: float = 0.0
    complete: bool = False

    @property
    def length(self) -> int:
        """How many log-probabilities the score is the sum of."""
        return len(self.tokens) + self.complete


class Search(Protocol):
    """One request's search. `width` is the most hypotheses that ever live at once."""

    width: int

    @property
    def done(self) -> bool:
        """Whether no hypothesis lives any more."""
        ...

    @property
    def last_tokens(self) -> Sequence[int]:
        """The token that each live hypothesis feeds to the next step."""
        ...

    def advance(self, log_probs: Array, attention: Array | None) -> Sequence[int]:
        """Take log-probabilities (live, tokens) and attention (live, letters) of the step; grow the hypotheses.

        Returns, for each hypothesis that lives now, which of those before it continues.
        """
        ...

    def settled(self) -> Sequence[Token]:
        """Return the tokens that no hypothesis which may still win contradicts, from the first on."""
        ...

    def best(self) -> list[Hypothesis]:
        """Return what was found, best first; ask when done."""
        ...
