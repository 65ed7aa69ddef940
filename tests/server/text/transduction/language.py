"""A tiny language for searches: what follows what is fixed by a formula, so that every output can be listed."""

import itertools
import random

import numpy as np

from cuelight.server.text.transduction.search import Array, Search

__all__ = ["END", "START", "Language", "searched"]

START, END = 0, 1


class Language:
    """Log-probabilities of `size` tokens after any beginning, drawn once for each of them."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._seed = seed

    def after(self, beginning: tuple[int, ...]) -> Array:
        """Return log-probabilities (size,) of what follows these tokens."""
        weights = random.Random(f"{self._seed} {beginning}")
        logits = np.array([weights.gauss(0, 1.5) for _ in range(self.size)], np.float32)
        return np.asarray(logits - np.log(np.exp(logits).sum()), np.float32)

    def outputs(self, max_tokens: int) -> dict[tuple[int, ...], float]:
        """Return every output that has an end within the limit, with the sum of its log-probabilities."""
        inner = [token for token in range(self.size) if token != END]
        scores: dict[tuple[int, ...], float] = {}
        for length in range(max_tokens):
            for tokens in itertools.product(inner, repeat=length):
                steps = [(tokens[:place], token) for place, token in enumerate((*tokens, END))]
                scores[tokens] = sum(float(self.after(beginning)[token]) for beginning, token in steps)
        return scores


def searched(search: Search, language: Language) -> list[list[int]]:
    """Run a search to its end, its rows as the engine keeps them; return what was settled after each step."""
    beginnings: list[tuple[int, ...]] = [()]
    settled: list[list[int]] = []
    while not search.done:
        fed = list(search.last_tokens)
        assert fed == [beginning[-1] if beginning else START for beginning in beginnings]
        log_probs = np.stack([language.after(beginning) for beginning in beginnings])
        looked = np.array([[len(beginning), sum(beginning)] for beginning in beginnings], np.float32)
        parents = search.advance(log_probs, looked)
        grown = list(search.last_tokens)
        beginnings = [(*beginnings[parent], token) for parent, token in zip(parents, grown, strict=True)]
        settled.append([token.number for token in search.settled()])
    return settled
