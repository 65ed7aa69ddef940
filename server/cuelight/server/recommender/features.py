"""What is known of items themselves, as vectors whose products are similarities.

Each kind of knowledge is a *block*: tags, title, embeddings. Within a block an item is a vector of length 1, or 0 where
nothing is known; the similarity of two items is the mean of the blocks' cosines, as the blocks' weights have it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, hstack

from cuelight.server.recommender.item_terms import ItemTerms

__all__ = ["DescribedItems", "ItemAttributes", "ItemFeatures", "words_of"]

_Block = tuple[Any, tuple[str, ...]]
"""A matrix (items, terms) and the terms."""


@dataclass(frozen=True, slots=True)
class ItemAttributes:
    """What callers told about an item; everything may be missing."""

    title: str = ""
    tags: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Such as a year or a price; filters use them, similarities do not."""
    available: bool = True
    """An item that is not available is learned from, but never recommended."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemFeatures:
    """`matrix` (items, features) sparse float64, products of rows are similarities; `names` (features,)."""

    matrix: Any
    names: tuple[str, ...]

    @classmethod
    def of(cls, items: Sequence[ItemAttributes], embeddings: NDArray[np.float64] | None = None) -> "ItemFeatures":
        """Build the features of all items: tags, words of the title, and `embeddings` (items, d) if any."""
        return DescribedItems(items).features(embeddings)

    @classmethod
    def of_blocks(
        cls, n_items: int, blocks: Sequence[_Block], embeddings: NDArray[np.float64] | None = None
    ) -> "ItemFeatures":
        """Join blocks of tags and titles, and embeddings (items, d) if any; a block without names is left out."""
        blocks = list(blocks)
        if embeddings is not None:
            names = tuple(f"embedding {i}" for i in range(embeddings.shape[1]))
            blocks.append((_unit_rows(csr_array(embeddings)), names))
        blocks = [block for block in blocks if block[1]]
        if not blocks:
            return cls(csr_array((n_items, 0)), ())
        matrix = hstack([block for block, _ in blocks], format="csr") / np.sqrt(len(blocks))
        return cls(matrix, tuple(name for _, names in blocks for name in names))

    @property
    def n_items(self) -> int:
        """How many items there are, with and without features."""
        return int(self.matrix.shape[0])

    def widened(self, n_items: int) -> "ItemFeatures":
        """Return them with room for `n_items`; nothing is known of new ones."""
        ends = np.pad(self.matrix.indptr, (0, n_items - self.n_items), mode="edge")
        wider = csr_array((self.matrix.data, self.matrix.indices, ends), shape=(n_items, self.matrix.shape[1]))
        return replace(self, matrix=wider)


def words_of(title: str) -> list[str]:
    """Return the words of a title in lower case, without a year in brackets at its end."""
    return re.findall(r"\w+", re.sub(r"\(\d{4}\)\s*$", "", title.lower()))


class DescribedItems:
    """Tags and words of titles, from which features are made again when some items have changed.

    Whoever computes features owns it; one update follows the other.
    """

    def __init__(self, items: Sequence[ItemAttributes | None]) -> None:
        self._tags = ItemTerms()
        self._words = ItemTerms()
        self.change(len(items), dict(enumerate(items)))

    def change(self, n_items: int, changed: Mapping[int, ItemAttributes | None]) -> None:
        """Take in changed items by place; None where one was deleted. There are `n_items` then."""
        self._tags.widen(n_items)
        self._words.widen(n_items)
        for place, item in changed.items():
            self._tags.put(place, [f"tag {tag}" for tag in item.tags] if item else ())
            self._words.put(place, [f"title {word}" for word in words_of(item.title)] if item else ())

    def features(self, embeddings: NDArray[np.float64] | None = None) -> ItemFeatures:
        """Return the features of all items as they are now: by tf-idf, and `embeddings` (items, d) if any.

        Source: Salton and Buckley, Term-weighting approaches in automatic text retrieval, 1988; idf smoothed as
        log((1 + n) / (1 + df)) + 1.
        """
        return ItemFeatures.of_blocks(len(self._tags), (_tf_idf(self._tags), _tf_idf(self._words)), embeddings)


def _tf_idf(terms: ItemTerms) -> _Block:
    columns, ends, names = terms.counts()
    counts = csr_array((np.ones(len(columns)), columns, ends), shape=(len(terms), len(names)))
    counts.sum_duplicates()
    present = np.bincount(counts.indices, minlength=len(names))
    idf = np.log((1 + len(terms)) / (1 + present)) + 1
    return _unit_rows(counts @ diags_array(idf)), names


def _unit_rows(matrix: Any) -> Any:
    norms = np.sqrt((matrix * matrix).sum(axis=1))
    return csr_array(diags_array(np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)) @ matrix)
