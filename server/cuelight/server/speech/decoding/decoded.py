"""What a search has found so far: tokens, when each was said, how sure."""

from dataclasses import dataclass

__all__ = ["Decoded"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One sequence of tokens; the three tuples are of one length.

    `frames` count from the start of the utterance; `log_probs` are natural logarithms, one per token. `score` orders
    the sequences of one search: the logarithm of their probability, boosts of phrases included.
    """

    ids: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    score: float = 0.0
