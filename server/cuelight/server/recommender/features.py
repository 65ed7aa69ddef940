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

__all__ = ["ItemAttributes", "ItemFeatures", "words_of"]


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
        """Build the features of all items: tags and words of the title by tf-idf, and `embeddings` (items, d) if any.

        Source: Salton and Buckley, Term-weighting approaches in automatic text retrieval, 1988; idf smoothed as
        log((1 + n) / (1 + df)) + 1.
        """
        blocks = [
            _tf_idf([[f"tag {tag}" for tag in item.tags] for item in items]),
            _tf_idf([[f"title {word}" for word in words_of(item.title)] for item in items]),
        ]
        if embeddings is not None:
            names = tuple(f"embedding {i}" for i in range(embeddings.shape[1]))
            blocks.append((_unit_rows(csr_array(embeddings)), names))
        blocks = [block for block in blocks if block[1]]
        if not blocks:
            return cls(csr_array((len(items), 0)), ())
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


def _tf_idf(documents: Sequence[Sequence[str]]) -> tuple[Any, tuple[str, ...]]:
    names = sorted({term for terms in documents for term in terms})
    place = {name: i for i, name in enumerate(names)}
    columns = np.array([place[term] for terms in documents for term in terms], np.int64)
    ends = np.cumsum([0, *(len(terms) for terms in documents)])
    counts = csr_array((np.ones(len(columns)), columns, ends), shape=(len(documents), len(names)))
    counts.sum_duplicates()
    present = np.bincount(counts.indices, minlength=len(names))
    idf = np.log((1 + len(documents)) / (1 + present)) + 1
    return _unit_rows(counts @ diags_array(idf)), tuple(names)


def _unit_rows(matrix: Any) -> Any:
    norms = np.sqrt((matrix * matrix).sum(axis=1))
    return csr_array(diags_array(np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)) @ matrix)
