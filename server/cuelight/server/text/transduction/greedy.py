"""Greedy search: the likeliest token of every step, until the end is the likeliest."""

from collections.abc import Sequence

from cuelight.server.text.transduction.search import Array, Hypothesis, Token

__all__ = ["GreedySearch"]


class GreedySearch:
    """See `Search`. Of equal log-probabilities the lower number wins."""

    width = 1

    def __init__(self, start: int, end: int, max_tokens: int) -> None:
        self._end = end
        self._max_tokens = max_tokens
        self._tokens: list[Token] = []
        self._last = start
        self._score = 0.0
        self._complete = False

    @property
    def done(self) -> bool:
        """See `Search`."""
        return self._complete or len(self._tokens) == self._max_tokens

    @property
    def last_tokens(self) -> Sequence[int]:
        """See `Search`."""
        return () if self.done else (self._last,)

    def advance(self, log_probs: Array, attention: Array | None) -> Sequence[int]:
        """See `Search`."""
        number = int(log_probs[0].argmax())
        log_probability = float(log_probs[0, number])
        self._score += log_probability
        if number == self._end:
            self._complete = True
            return ()
        self._tokens.append(Token(number, log_probability, None if attention is None else attention[0]))
        self._last = number
        return () if self.done else (0,)

    def settled(self) -> Sequence[Token]:
        """See `Search`."""
        return self._tokens

    def best(self) -> list[Hypothesis]:
        """See `Search`."""
        return [Hypothesis(tuple(self._tokens), self._score, self._complete)]
