"""What came of the variants of experiments, told by the stored truth alone.

A *like* of a variant is a word of a user that stands, is a like, and is from the time of the user's first shelf of the
variant or later. Where the user has got shelves of several variants of an experiment (shares were changed), it is a
like of the one that came last before it. A *hit* is a like of an item that a shelf of the experiment had shown the user
by then. So a like that is taken back, or changed to a dislike, is none any more; one that is told again later is one.

`count_outcomes` asks for all pairs of user and item, or for some: then it touches nothing else, in O(log n) a pair.
"""

import sqlite3
from dataclasses import dataclass

from cuelight.server.recommender.store.exposures import VariantKey

__all__ = ["ALL", "ITEM", "PAIR", "Outcome", "count_exposures", "count_outcomes"]

ALL = "TRUE"
PAIR = "subjects.id = ? AND items.id = ?"
ITEM = "items.id = ?"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a variant; as counts or as a difference of counts."""

    users: int = 0
    """Who have got a shelf."""
    shelves: int = 0
    likes: int = 0
    hits: int = 0
    users_with_hits: int = 0
    """Of all pairs; of some, those among these."""

    def plus(self, other: "Outcome", times: int = 1) -> "Outcome":
        """Return the sum with `times` the other one; `users_with_hits` do not add up and are 0."""
        return Outcome(
            self.users + times * other.users,
            self.shelves + times * other.shelves,
            self.likes + times * other.likes,
            self.hits + times * other.hits,
        )


def count_exposures(connection: sqlite3.Connection) -> dict[VariantKey, Outcome]:
    """Return users and shelves of every variant."""
    found = connection.execute(_EXPOSURES)
    return {VariantKey(experiment, name): Outcome(users, shelves) for experiment, name, users, shelves in found}


def count_outcomes(
    connection: sqlite3.Connection, min_value: float, which: str = ALL, *ids: str
) -> dict[VariantKey, Outcome]:
    """Return likes, hits and users with hits of each variant that has any, over all pairs or `which`, of the `ids`."""
    found = connection.execute(_OUTCOMES.format(which=which), (min_value, *ids))
    return {
        VariantKey(experiment, name): Outcome(0, 0, likes, hits, users_with_hits)
        for experiment, name, likes, hits, users_with_hits in found
    }


_EXPOSURES = """
    SELECT experiments.name, variants.name, count(subject), coalesce(sum(shelves), 0)
    FROM variants JOIN experiments ON experiments.place = variants.experiment
    LEFT JOIN exposures ON exposures.variant = variants.place
    GROUP BY variants.place
"""
_OUTCOMES = """
    SELECT experiments.name, variants.name, count(*), count(shown.item),
           count(DISTINCT CASE WHEN shown.item IS NOT NULL THEN subjects.place END)
    FROM subjects
    JOIN users ON users.id = subjects.id
    JOIN events AS said ON said.user = users.place
    JOIN items ON items.place = said.item
    JOIN exposures ON exposures.subject = subjects.place AND exposures.first_s <= said.time_s
    JOIN variants ON variants.place = exposures.variant
    JOIN experiments ON experiments.place = variants.experiment
    LEFT JOIN shown ON shown.subject = subjects.place AND shown.experiment = variants.experiment
        AND shown.item = said.item AND shown.first_s <= said.time_s
    WHERE said.value >= ? AND {which}
    AND NOT EXISTS (
        SELECT 1 FROM events AS later WHERE later.user = said.user AND later.item = said.item
        AND later.time_s >= said.time_s AND (later.time_s, later.sequence) > (said.time_s, said.sequence)
    )
    AND NOT EXISTS (
        SELECT 1 FROM exposures AS nearer JOIN variants AS other ON other.place = nearer.variant
        WHERE nearer.subject = exposures.subject AND other.experiment = variants.experiment
        AND nearer.first_s <= said.time_s AND (nearer.first_s, nearer.variant) > (exposures.first_s, exposures.variant)
    )
    GROUP BY variants.place
"""
