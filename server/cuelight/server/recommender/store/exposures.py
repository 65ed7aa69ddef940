"""Who got which variant of an experiment, and what they were shown: rows beside the events.

A *subject* is a user who has got a shelf of an experiment, known by an event or not: whoever only looks is one too.
Every method is one step within a transaction of the store; its thread owns this.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Declared", "Exposed", "Exposure", "ExposureRows", "ShownItem", "VariantKey"]


@dataclass(frozen=True, slots=True)
class VariantKey:
    """A variant by its names."""

    experiment: str
    variant: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A variant that the configuration has, or had: `position` in its experiment and `share` are None where it had."""

    key: VariantKey
    position: int | None
    share: float | None


@dataclass(slots=True)
class Exposed:
    """Shelves of a variant that a user has got, told together."""

    key: VariantKey
    user: str
    first_s: float
    """When the first of them was made, Unix time."""
    shelves: int = 0
    items: dict[str, float] = field(default_factory=dict)
    """What was on them, and when first."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """A user's part in an experiment: since when, and how many shelves."""

    key: VariantKey
    first_s: float
    shelves: int


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item that a shelf of an experiment has shown to a user, and when first."""

    experiment: str
    item: str
    first_s: float


class ExposureRows:
    """The tables `experiments`, `variants`, `subjects`, `exposures` and `shown`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def declare(self, shares: Mapping[str, Mapping[str, float]]) -> None:
        """Take over the configuration's experiments: shares by variant, by experiment. Others keep what they have."""
        self._connection.execute("UPDATE variants SET position = NULL, share = NULL")
        for experiment, variants in shares.items():
            self._connection.execute("INSERT INTO experiments (name) VALUES (?) ON CONFLICT DO NOTHING", (experiment,))
            rows = [(name, position, share, experiment) for position, (name, share) in enumerate(variants.items())]
            self._connection.executemany(_DECLARE, rows)

    def declared(self) -> list[Declared]:
        """Return all variants there ever were, experiments in the order they came, those not declared last."""
        found = self._connection.execute(_DECLARED)
        return [Declared(VariantKey(experiment, name), position, share) for experiment, name, position, share in found]

    def add(self, exposed: Sequence[Exposed]) -> list[bool]:
        """Keep exposures to declared variants; return for each whether it is the user's first to that variant.

        Items that are not there, or not any more, are passed over.
        """
        self._connection.executemany(
            "INSERT INTO subjects (id) VALUES (?) ON CONFLICT DO NOTHING", [(one.user,) for one in exposed]
        )
        first = []
        for one in exposed:
            names = (one.user, one.key.experiment, one.key.variant)
            [(shelves,)] = self._connection.execute(_EXPOSE, (one.first_s, one.shelves, *names)).fetchall()
            first.append(shelves == one.shelves)
            rows = [(shown_s, one.user, one.key.experiment, item) for item, shown_s in one.items.items()]
            self._connection.executemany(_SHOW, rows)
        return first

    def is_subject(self, user: str) -> bool:
        """Whether anything is stored here of a user."""
        return self._connection.execute("SELECT 1 FROM subjects WHERE id = ?", (user,)).fetchone() is not None

    def empty(self) -> bool:
        """Whether nothing is stored here of anybody."""
        return self._connection.execute("SELECT 1 FROM subjects LIMIT 1").fetchone() is None

    def forget(self, users: Iterable[str]) -> None:
        """Delete all that is stored here of users."""
        ids = [(user,) for user in users]
        for table in ("shown", "exposures"):
            self._connection.executemany(
                f"DELETE FROM {table} WHERE subject = (SELECT place FROM subjects WHERE id = ?)",
                ids,
            )
        self._connection.executemany("DELETE FROM subjects WHERE id = ?", ids)

    def delete_items(self, places: Sequence[tuple[int]]) -> None:
        """Delete that items were shown."""
        self._connection.executemany("DELETE FROM shown WHERE item = ?", places)

    def exposures_of(self, user: str) -> list[Exposure]:
        """Return a user's part in experiments, in the order it came."""
        found = self._connection.execute(_EXPOSURES_OF_USER, (user,))
        return [
            Exposure(VariantKey(experiment, name), first_s, shelves) for experiment, name, first_s, shelves in found
        ]

    def shown_to(self, user: str) -> list[ShownItem]:
        """Return what experiments have shown to a user, in the order it came."""
        return [ShownItem(*row) for row in self._connection.execute(_SHOWN_TO_USER, (user,))]


_DECLARE = """
    INSERT INTO variants (experiment, name, position, share) SELECT place, ?, ?, ? FROM experiments WHERE name = ?
    ON CONFLICT (experiment, name) DO UPDATE SET position = excluded.position, share = excluded.share
"""
_DECLARED = """
    SELECT experiments.name, variants.name, position, share
    FROM variants JOIN experiments ON experiments.place = variants.experiment
    ORDER BY experiments.place, position IS NULL, position, variants.place
"""
_EXPOSE = """
    INSERT INTO exposures (subject, variant, first_s, shelves)
    SELECT subjects.place, variants.place, ?, ? FROM subjects, experiments
    JOIN variants ON variants.experiment = experiments.place
    WHERE subjects.id = ? AND experiments.name = ? AND variants.name = ?
    ON CONFLICT (subject, variant) DO UPDATE SET shelves = shelves + excluded.shelves
    RETURNING shelves
"""
_SHOW = """
    INSERT INTO shown (subject, experiment, item, first_s)
    SELECT subjects.place, experiments.place, items.place, ? FROM subjects, experiments, items
    WHERE subjects.id = ? AND experiments.name = ? AND items.id = ? AND items.attributes IS NOT NULL
    ON CONFLICT DO NOTHING
"""
_EXPOSURES_OF_USER = """
    SELECT experiments.name, variants.name, first_s, shelves FROM subjects
    JOIN exposures ON exposures.subject = subjects.place
    JOIN variants ON variants.place = exposures.variant
    JOIN experiments ON experiments.place = variants.experiment
    WHERE subjects.id = ? ORDER BY first_s, variants.place
"""
_SHOWN_TO_USER = """
    SELECT experiments.name, items.id, first_s FROM subjects
    JOIN shown ON shown.subject = subjects.place
    JOIN experiments ON experiments.place = shown.experiment
    JOIN items ON items.place = shown.item
    WHERE subjects.id = ? ORDER BY first_s, experiments.place, items.place
"""
