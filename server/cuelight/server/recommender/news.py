"""What the models are told: a store's content at the start, and then what changed in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cuelight.server.recommender.embeddings import ItemEmbeddings, SpaceVectors
from cuelight.server.recommender.features import DescribedItems, ItemAttributes, ItemFeatures
from cuelight.server.recommender.history import History
from cuelight.server.recommender.store.store import Said

__all__ = ["FeaturesUpdate", "Loaded", "News"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A store's content at the start."""

    users: Mapping[str, int]
    items: Mapping[str, int]
    rows: Sequence[History]
    attributes: Sequence[ItemAttributes | None]
    min_value: float
    version: int
    unliked: Sequence[History] = ()
    """What users told of and do not like, as `rows`."""
    embeddings: Mapping[str, SpaceVectors] = field(default_factory=dict)
    """Vectors by space."""


@dataclass(frozen=True, slots=True)
class News:
    """What a write changed in the store, as models need to know it."""

    version: int
    users: Mapping[str, int] = field(default_factory=dict)
    """Places of new ids, as `items`."""
    items: Mapping[str, int] = field(default_factory=dict)
    said: Mapping[int, Mapping[int, Said | None]] = field(default_factory=dict)
    """How things stand with what was told of, by the user's and then the item's place; None where it was taken back."""
    attributes: Mapping[int, ItemAttributes | None] = field(default_factory=dict)
    """Of items whose attributes changed, by place; None where one was deleted."""
    embeddings: Mapping[int, ItemEmbeddings | None] = field(default_factory=dict)
    """All vectors anew of items whose attributes changed, by the items' places; None where one was deleted."""
    forgotten: frozenset[str] = frozenset()
    writes: int = 1
    """How many writes it is made of."""


@dataclass(frozen=True, slots=True, eq=False)
class FeaturesUpdate:
    """What leads from the items' features to those after some changes: may be computed on any thread, one at a time."""

    described: DescribedItems
    n_items: int
    changed: Mapping[int, ItemAttributes | None]
    embeddings: Mapping[str, SpaceVectors]

    def computed(self) -> ItemFeatures:
        """Return the features; takes time in proportion to all terms, but reads the changed items' texts alone."""
        self.described.change(self.n_items, self.changed)
        return self.described.features(self.embeddings)
