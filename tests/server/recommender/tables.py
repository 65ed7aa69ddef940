"""Tables and features that tests of the recommender share."""

import numpy as np

from cuelight.server.recommender.embeddings import SpaceVectors, VectorTable
from cuelight.server.recommender.features import ItemAttributes, ItemFeatures
from cuelight.server.recommender.history import History
from cuelight.server.recommender.interaction_table import InteractionTable

TAGS = ("quiet", "loud", "blue", "red")


def random_table(n_users: int = 30, n_items: int = 12, seed: int = 0) -> InteractionTable:
    """Every user likes about a third of the items, with weight 1, on some day of the first hundred."""
    generator = np.random.default_rng(seed)
    liked = [np.flatnonzero(generator.random(n_items) < 1 / 3) for _ in range(n_users)]
    return InteractionTable(
        n_items,
        [
            History.of(items, 1.0, generator.integers(0, 100, len(items)) * 86_400.0, user)
            for user, items in enumerate(liked)
        ],
    )


def checkerboard(n: int = 20) -> InteractionTable:
    """User u likes the items of u's parity, but not item u: what to recommend to u is item u, and nothing else.

    Source: `get_checkerboard` in the tests of the library implicit.
    """
    liked = [[item for item in range(n) if item % 2 == user % 2 and item != user] for user in range(n)]
    return InteractionTable(n, [History.of(items, 1.0, 0.0, user) for user, items in enumerate(liked)])


def some_features(n_items: int, seed: int = 0) -> ItemFeatures:
    """Each item has a tag or two and a title of two words, one of them its own; most have a text's and a few a sound's
    embedding."""
    generator = np.random.default_rng(seed)
    attributes = [
        ItemAttributes(f"Song {item}", tuple(generator.choice(TAGS, generator.integers(1, 3), replace=False)))
        for item in range(n_items)
    ]
    texts = VectorTable.empty(5)
    for item in range(n_items):
        texts.put(item, generator.standard_normal(5, dtype=np.float32))
    texts.drop(2)
    texts.put(3, generator.standard_normal(5, dtype=np.float32))
    sounds = SpaceVectors(np.array([7, 1]), generator.standard_normal((2, 3), dtype=np.float32))
    return ItemFeatures.of(attributes, {"text": texts.seen(), "sound": sounds})


def parity_features(n_items: int) -> ItemFeatures:
    """Items of one parity have one tag."""
    return ItemFeatures.of([ItemAttributes(tags=("odd" if item % 2 else "even",)) for item in range(n_items)])
