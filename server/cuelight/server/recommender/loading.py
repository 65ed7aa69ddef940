"""What a store holds, read at the start; damage to the database comes to light here."""

from collections.abc import Mapping

from cuelight.server.recommender.experiments.outcomes import Outcomes
from cuelight.server.recommender.liking import MIN_VALUE, min_value_of, told_rows
from cuelight.server.recommender.news import Loaded
from cuelight.server.recommender.retrieval.spaces import Spaces
from cuelight.server.recommender.store.damage import readable
from cuelight.server.recommender.store.store import Store

__all__ = ["loaded_from", "outcomes_of", "spaces_of"]


def loaded_from(store: Store, min_value: float | None) -> Loaded:
    """Return all that models learn from; `min_value`, if given, is kept with it. Raises: ConfigError when damaged."""
    with readable(store.path):
        if min_value is not None:
            store.set_setting(MIN_VALUE, min_value)
        least = min_value_of(store)
        liked, unliked = told_rows(store, least)
        attributes, version = store.attributes(), store.last_sequence()
        users, items = dict(store.users), dict(store.items)
        return Loaded(users, items, liked, attributes, least, version, unliked, store.embeddings())


def outcomes_of(store: Store, min_value: float, shares: Mapping[str, Mapping[str, float]]) -> Outcomes:
    """Take over the experiments' shares, and return what came of all of them. Raises: ConfigError when damaged."""
    with readable(store.path):
        store.declare_experiments(shares)
        return Outcomes(store, min_value)


def spaces_of(loaded: Loaded) -> Spaces:
    """Return the embeddings to search in."""
    ids = {place: item for item, place in loaded.items.items()}
    unavailable = {place for place, item in enumerate(loaded.attributes) if item is not None and not item.available}
    return Spaces(ids, unavailable, loaded.embeddings)
