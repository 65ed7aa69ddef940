"""Beam search: at every step the `width` best beginnings go on, and those that the model ends are kept aside.

A step looks at every continuation of every live hypothesis, best sum of log-probabilities first. Ends among the first
`width` of them are found outputs; the first `width` of the others live on. The search is over when no live hypothesis
can become better than the `width`-th best output found, or at `max_tokens`; what has not ended by then is an output,
too, behind all that have.

Outputs are ranked by score / length ^ length_penalty, the end counted. Sums are in double precision; of equal ones the
continuation of the better hypothesis is first, and then the lower number, so that a search is the same every time.

Source of the length's power: Wu et al., Google's Neural Machine Translation System, 2016, section 7, with its constant
5 left out.
"""

from collections.abc import Sequence

import numpy as np

from cuelight.server.text.transduction.search import Array, Hypothesis, Token

__all__ = ["BeamSearch"]


class BeamSearch:
    """See `Search`."""

    def __init__(self, start: int, end: int, max_tokens: int, width: int, length_penalty: float = 0.0) -> None:
        self.width = width
        self._start = start
        self._end = end
        self._max_tokens = max_tokens
        self._penalty = length_penalty
        self._live = [Hypothesis()]
        self._found: list[Hypothesis] = []
        self._cut: list[Hypothesis] = []
        """Those that lived when `max_tokens` was reached."""

    @property
    def done(self) -> bool:
        """See `Search`."""
        return not self._live

    @property
    def last_tokens(self) -> Sequence[int]:
        """See `Search`."""
        return [one.tokens[-1].number if one.tokens else self._start for one in self._live]

    def advance(self, log_probs: Array, attention: Array | None) -> Sequence[int]:
        """See `Search`."""
        parents: list[int] = []
        live: list[Hypothesis] = []
        scores = np.array([one.score for one in self._live])[:, np.newaxis] + log_probs.astype(np.float64)
        for rank, place in enumerate(_best(scores, 2 * self.width)):
            parent, number = divmod(place, scores.shape[1])
            if number == self._end:
                if rank < self.width:
                    self._found.append(Hypothesis(self._live[parent].tokens, float(scores.flat[place]), True))
            elif len(live) < self.width:
                looked = None if attention is None else attention[parent]
                token = Token(number, float(log_probs[parent, number]), looked)
                live.append(Hypothesis((*self._live[parent].tokens, token), float(scores.flat[place])))
                parents.append(parent)
        self._found = sorted(self._found, key=self._rank)[: self.width]
        self._live = live
        self._end_if_decided()
        return parents if self._live else ()

    def settled(self) -> Sequence[Token]:
        """See `Search`."""
        candidates = [one.tokens for one in (*self._found, *self._live)] if self._live else [self.best()[0].tokens]
        shortest = min(candidates, key=len)
        for place, token in enumerate(shortest):
            if any(other[place].number != token.number for other in candidates):
                return shortest[:place]
        return shortest

    def best(self) -> list[Hypothesis]:
        """See `Search`."""
        return [*self._found, *sorted(self._cut, key=self._rank)][: self.width]

    def _end_if_decided(self) -> None:
        if not self._live:
            return
        if len(self._live[0].tokens) == self._max_tokens:
            self._cut, self._live = self._live, []
        elif len(self._found) == self.width:
            worst = self._ranking(self._found[-1].score, self._found[-1].length)
            # Sums only fall, and the longer an output the more of its sum is forgiven.
            hope = max(self._ranking(one.score, self._max_tokens + 1) for one in self._live)
            if hope <= worst:
                self._live = []

    def _rank(self, one: Hypothesis) -> float:
        return -self._ranking(one.score, one.length)

    def _ranking(self, score: float, length: int) -> float:
        ranking: float = score / length**self._penalty
        return ranking


def _best(scores: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", count: int) -> list[int]:
    """Return the flat places of the largest `count` numbers, largest first, the first of equal ones first."""
    flat = scores.reshape(-1)
    order = np.argsort(-flat, kind="stable")[:count]
    return [int(place) for place in order]
