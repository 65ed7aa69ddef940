"""Counters of variants that follow every write, and equal at any time what the store would count anew.

A write changes what is said of some pairs of user and item. What the store counts for these pairs before and after it
differs by what the counters have to move: the same question both times, of these pairs alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.exposures import Exposed, VariantKey
from cuelight.server.recommender.store.outcomes import PAIR, Outcome
from cuelight.server.recommender.store.store import Store

__all__ = ["Outcomes", "Scope"]

Scope = tuple[str, *tuple[str, ...]]
"""Some pairs of user and item: PAIR or ITEM of `store.outcomes`, and the ids."""


class Outcomes:
    """What came of every variant. The store's thread owns it; `counts` is replaced as a whole: any thread may read."""

    def __init__(self, store: Store, min_value: float) -> None:
        """Count what is stored; `min_value` is the value from which on an event is a like."""
        self._store = store
        self._min_value = min_value
        self.counts: Mapping[VariantKey, Outcome] = {}
        self.recount()

    def recount(self) -> None:
        """Count all of it anew."""
        self._anybody = not self._store.exposures.empty()
        found = self._store.count_outcomes(self._min_value)
        self.counts = {
            key: exposed.plus(found.get(key, Outcome())) for key, exposed in self._store.count_exposures().items()
        }

    @contextmanager
    def following(self, scopes: Iterable[Scope]) -> Iterator[None]:
        """Follow what the body's write changes of some pairs, in scopes that do not overlap; nothing when it raises."""
        touched = set(scopes)
        before = [self._of(scope) for scope in touched]
        yield
        counts = dict(self.counts)
        for found, times in ((before, -1), ([self._of(scope) for scope in touched], 1)):
            for outcomes in found:
                for key, outcome in outcomes.items():
                    counts[key] = counts[key].plus(outcome, times)
        self.counts = counts

    def scopes_of(self, events: Sequence[Event]) -> list[Scope]:
        """Return the scopes that events can change: pairs of users who have got a shelf of any experiment."""
        if not self._anybody:
            return []
        subjects = {user for user in {event.user for event in events} if self._store.exposures.is_subject(user)}
        return [(PAIR, event.user, event.item) for event in events if event.user in subjects]

    def expose(self, exposed: Sequence[Exposed]) -> None:
        """Store who got which shelves, and count them. Raises: Overloaded when the disk is full: then none is."""
        self._anybody = True
        told = [(PAIR, one.user, item) for one in exposed for item in self._store.told_since(one.user, one.first_s)]
        with self.following(told):
            firsts = self._store.record_exposures(exposed)
        counts = dict(self.counts)
        for one, is_first in zip(exposed, firsts, strict=True):
            counts[one.key] = counts[one.key].plus(Outcome(int(is_first), one.shelves))
        self.counts = counts

    def _of(self, scope: Scope) -> Mapping[VariantKey, Outcome]:
        return self._store.count_outcomes(self._min_value, *scope)
