"""What is known of items themselves, as vectors whose products are similarities.

Each kind of knowledge is a *block*: tags, title, and each space of embeddings. Within a block an item is a vector of
length 1, or 0 where nothing is known; the similarity of two items is the mean of the blocks' cosines.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, hstack

from cuelight.server.recommender.dense_block import DenseBlock
from cuelight.server.recommender.embeddings import SpaceVectors
from cuelight.server.recommender.item_terms import ItemTerms

__all__ = ["DescribedItems", "ItemAttributes", "ItemFeatures", "words_of"]

_Block = tuple[Any, tuple[str, ...]]
"""A matrix (items, terms) and the terms."""

_PROFILES_AT_ONCE = 32
"""Profiles are as wide as there are features: so many are in memory at once."""


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
    """Tags and titles as `matrix` (items, features) sparse float64, with `names` (features,); embeddings as `dense`.

    Similarities are products of rows of the matrix, plus those of the dense blocks.
    """

    matrix: Any
    names: tuple[str, ...]
    dense: tuple[DenseBlock, ...] = ()

    @classmethod
    def of(
        cls, items: Sequence[ItemAttributes], embeddings: Mapping[str, SpaceVectors] | None = None
    ) -> "ItemFeatures":
        """Build the features of all items: tags, words of the title, and embeddings by space if any."""
        return DescribedItems(items).features(embeddings)

    @classmethod
    def of_blocks(
        cls, n_items: int, blocks: Sequence[_Block], embeddings: Mapping[str, SpaceVectors] | None = None
    ) -> "ItemFeatures":
        """Join blocks of tags and titles, and embeddings by space if any; a block of nothing is left out."""
        blocks = [block for block in blocks if block[1]]
        told = {space: known for space, known in (embeddings or {}).items() if (known.places >= 0).any()}
        weight = 1 / max(len(blocks) + len(told), 1)
        dense = tuple(DenseBlock.of(space, known, n_items, weight) for space, known in told.items())
        if not blocks:
            return cls(csr_array((n_items, 0)), (), dense)
        matrix = hstack([block for block, _ in blocks], format="csr") * np.sqrt(weight)
        return cls(matrix, tuple(name for _, names in blocks for name in names), dense)

    def to_all(self, weights: Any) -> NDArray[np.float64]:
        """Return the sums of similarities to every item: `weights` (n, items) sparse, times all pairs', (n, items)."""
        sums = np.empty(weights.shape)
        for start in range(0, len(sums), _PROFILES_AT_ONCE):
            # A sparse matrix times a dense profile looks at every feature of every item once, and needs no transpose.
            profiles = (weights[start : start + _PROFILES_AT_ONCE] @ self.matrix).toarray()
            sums[start : start + len(profiles)] = (self.matrix @ profiles.T).T
        for block in self.dense:
            block.add_to_all(weights, sums)
        return sums

    def between(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the similarities of the items in some places to those in others: (first, second)."""
        similarities: NDArray[np.float64] = (self.matrix[first] @ self.matrix[second].T).toarray()
        for block in self.dense:
            similarities += block.between(first, second)
        return similarities

    @property
    def n_items(self) -> int:
        """How many items there are, with and without features."""
        return int(self.matrix.shape[0])

    def widened(self, n_items: int) -> "ItemFeatures":
        """Return them with room for `n_items`; nothing is known of new ones."""
        ends = np.pad(self.matrix.indptr, (0, n_items - self.n_items), mode="edge")
        wider = csr_array((self.matrix.data, self.matrix.indices, ends), shape=(n_items, self.matrix.shape[1]))
        return replace(self, matrix=wider, dense=tuple(block.widened(n_items) for block in self.dense))


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

    def features(self, embeddings: Mapping[str, SpaceVectors] | None = None) -> ItemFeatures:
        """Return the features of all items as they are now: by tf-idf, and embeddings by space if any.

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
