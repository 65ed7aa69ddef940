"""Any models, blended."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History
from cuelight.server.recommender.models.scorer import Reason, Scorer

__all__ = ["Hybrid", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """A model and its weight in the blend, any finite number."""

    model: Scorer
    weight: float


class Hybrid:
    """score(j) = sum over models of weight * score of the model: scores as they are, so that shares still add up.

    Source: "weighted" in Burke, Hybrid recommender systems, UMUAI 2002, section 3.1.
    """

    name = "hybrid"

    def __init__(self, parts: Sequence[Part]) -> None:
        assert parts, "a blend has at least one part"
        self._parts = tuple(parts)

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        first, *others = (part.weight * part.model.scores(histories) for part in self._parts)
        return sum(others, start=first)

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return every model's reasons at its weight; an item that several models name is named once."""
        by_part = [part.model.reasons(history, items) for part in self._parts]
        return [self._joined(of_item) for of_item in zip(*by_part, strict=True)]

    def _joined(self, of_item: Sequence[tuple[Reason, ...]]) -> tuple[Reason, ...]:
        shares: dict[tuple[int | None, str], float] = {}
        for part, reasons in zip(self._parts, of_item, strict=True):
            for share, item, feature in reasons:
                key = (item, feature)
                shares[key] = shares.get(key, 0.0) + part.weight * share
        joined = [Reason(share, *key) for key, share in shares.items() if share]
        return tuple(sorted(joined, key=lambda reason: -reason.share))
