"""What came of variants: counters that follow every write equal what plain dictionaries make of all that happened."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.errors import CuelightError
from cuelight.server.recommender.experiments.outcomes import Outcomes
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.exposures import Exposed, VariantKey
from cuelight.server.recommender.store.outcomes import Outcome
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.writes import (
    DeleteItems,
    ForgetUsers,
    NotLearned,
    Record,
    UpsertItems,
    Write,
    carry_out,
)

LIKED = 3.0
SHARES = {"home": {"a": 0.5, "b": 0.5}, "mail": {"only": 1.0}}
KEYS = [VariantKey(experiment, variant) for experiment, variants in SHARES.items() for variant in variants]
A, B, MAIL = KEYS


@dataclass
class Truth:
    """The same by plain dictionaries, counted anew each time."""

    words: dict[str, tuple[str, str, float | None, float]] = field(default_factory=dict)
    firsts: dict[tuple[VariantKey, str], float] = field(default_factory=dict)
    shelves: dict[tuple[VariantKey, str], int] = field(default_factory=dict)
    shown: dict[tuple[str, str, str], float] = field(default_factory=dict)
    items: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def carry_out(self, write: Write) -> None:
        match write:
            case Record(events):
                for event in events:
                    self.words.setdefault(event.id, (event.user, event.item, event.value, event.time_s))
                    self.items.add(event.item)
            case UpsertItems(items):
                self.items |= items.keys()
                self.deleted -= items.keys()
            case DeleteItems(ids):
                self.words = {key: word for key, word in self.words.items() if word[1] not in ids}
                self.shown = {key: first_s for key, first_s in self.shown.items() if key[2] not in ids}
                self.deleted |= self.items & set(ids)
            case ForgetUsers(ids):
                self.words = {key: word for key, word in self.words.items() if word[0] not in ids}
                self.firsts = {key: first_s for key, first_s in self.firsts.items() if key[1] not in ids}
                self.shelves = {key: count for key, count in self.shelves.items() if key[1] not in ids}
                self.shown = {key: first_s for key, first_s in self.shown.items() if key[1] not in ids}

    def expose(self, exposed: Sequence[Exposed]) -> None:
        for one in exposed:
            self.firsts.setdefault((one.key, one.user), one.first_s)
            self.shelves[one.key, one.user] = self.shelves.get((one.key, one.user), 0) + one.shelves
            for item in one.items.keys() & (self.items - self.deleted):
                self.shown.setdefault((one.key.experiment, one.user, item), one.items[item])

    def counts(self) -> dict[VariantKey, Outcome]:
        return {key: self._of(key) for key in KEYS}

    def _of(self, key: VariantKey) -> Outcome:
        users = {user for variant, user in self.firsts if variant == key}
        shelves = sum(self.shelves[key, user] for user in users)
        likes = [
            (user, item, time_s)
            for (user, item), (value, time_s) in self._standing().items()
            if value is not None and value >= LIKED and self._variant_at(key.experiment, user, time_s) == key
        ]
        hits = [
            user for user, item, time_s in likes if self.shown.get((key.experiment, user, item), time_s + 1) <= time_s
        ]
        return Outcome(len(users), shelves, len(likes), len(hits), len(set(hits)))

    def _standing(self) -> dict[tuple[str, str], tuple[float | None, float]]:
        standing: dict[tuple[str, str], tuple[float | None, float]] = {}
        for user, item, value, time_s in self.words.values():
            if time_s >= standing.get((user, item), (None, -1.0))[1]:
                standing[user, item] = (value, time_s)
        return standing

    def _variant_at(self, experiment: str, user: str, time_s: float) -> VariantKey | None:
        before = [
            (first_s, KEYS.index(key), key)
            for (key, who), first_s in self.firsts.items()
            if key.experiment == experiment and who == user and first_s <= time_s
        ]
        return max(before)[2] if before else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    opened.declare_experiments(SHARES)
    opened.upsert_items({item: ItemAttributes() for item in "xyz"})
    yield opened
    opened.close()


def event(number: int, user: str, item: str, value: float | None, time_s: float) -> Event:
    return Event(f"e{number}", user, item, value, time_s)


def shelf(key: VariantKey, user: str, time_s: float, items: str = "") -> Exposed:
    return Exposed(key, user, time_s, 1, dict.fromkeys(items, time_s))


users, items, times = st.sampled_from(["ann", "bob"]), st.sampled_from("xyz"), st.integers(0, 5).map(float)
events = st.builds(event, st.integers(0, 15), users, items, st.sampled_from([None, 1.0, 3.0, 5.0]), times)
exposures = st.lists(
    st.builds(
        Exposed, st.sampled_from(KEYS), users, times, st.integers(1, 3), st.dictionaries(items, times, max_size=3)
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: (one.key, one.user),
)
steps = st.one_of(
    st.lists(events, min_size=1, max_size=4).map(Record),
    st.lists(events, min_size=1, max_size=4).map(Record),
    exposures,
    exposures,
    items.map(lambda item: DeleteItems([item, "unheard of"])),
    items.map(lambda item: UpsertItems({item: ItemAttributes("back")})),
    users.map(lambda user: ForgetUsers([user, "nobody"])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=14))
def test_after_anything_the_counters_are_what_happened(
    tmp_path_factory: pytest.TempPathFactory, happened: list[Write | list[Exposed]]
) -> None:
    store = Store(tmp_path_factory.mktemp("outcomes"))
    store.declare_experiments(SHARES)
    outcomes, truth = Outcomes(store, LIKED), Truth()
    for step in happened:
        if isinstance(step, list):
            starts = [Exposed(one.key, one.user, one.first_s, one.shelves, at_least(one)) for one in step]
            outcomes.expose(starts)
            truth.expose(starts)
        else:
            carry_out(store, [step], outcomes)
            truth.carry_out(step)
        assert {key: outcome.plus(Outcome()) for key, outcome in truth.counts().items()} == outcomes.counts

    again = Outcomes(store, LIKED)

    assert again.counts == outcomes.counts
    with_hits = {key: found.users_with_hits for key, found in store.count_outcomes(LIKED).items()}
    assert {key: with_hits.get(key, 0) for key in KEYS} == {
        key: outcome.users_with_hits for key, outcome in truth.counts().items()
    }
    store.close()


def at_least(one: Exposed) -> dict[str, float]:
    """Nothing is shown before the first shelf."""
    return {item: max(time_s, one.first_s) for item, time_s in one.items.items()}


def told(store: Store, outcomes: Outcomes, *events: Event) -> None:
    carry_out(store, [Record(events)], outcomes)


def test_a_like_counts_from_the_first_shelf_on_and_a_hit_where_it_was_shown(store: Store) -> None:
    outcomes = Outcomes(store, LIKED)
    told(store, outcomes, event(1, "ann", "x", 5.0, 9.0))
    outcomes.expose([shelf(A, "ann", 10.0, "xy")])

    told(
        store,
        outcomes,
        event(2, "ann", "y", 5.0, 10.0),
        event(3, "ann", "z", 5.0, 11.0),
        event(4, "bob", "z", 5.0, 11.0),
    )

    assert outcomes.counts == {A: Outcome(1, 1, 2, 1), B: Outcome(), MAIL: Outcome()}


def test_a_like_is_taken_back_with_its_withdrawal_or_a_worse_word(store: Store) -> None:
    outcomes = Outcomes(store, LIKED)
    outcomes.expose([shelf(A, "ann", 10.0, "xy")])
    told(store, outcomes, event(1, "ann", "x", 5.0, 11.0), event(2, "ann", "y", 5.0, 11.0))
    assert outcomes.counts[A] == Outcome(1, 1, 2, 2)

    told(store, outcomes, event(3, "ann", "x", None, 12.0), event(4, "ann", "y", 1.0, 12.0))
    assert outcomes.counts[A] == Outcome(1, 1, 0, 0)

    told(store, outcomes, event(5, "ann", "x", 4.0, 11.5), event(1, "ann", "x", 5.0, 20.0))
    assert outcomes.counts[A] == Outcome(1, 1, 0, 0), "a late event and a duplicate change nothing"


def test_a_like_told_before_its_shelf_was_stored_counts_once_it_is(store: Store) -> None:
    outcomes = Outcomes(store, LIKED)
    outcomes.expose([shelf(A, "bob", 1.0)])
    told(store, outcomes, event(1, "ann", "x", 5.0, 10.5))

    outcomes.expose([shelf(A, "ann", 10.0, "x")])

    assert outcomes.counts[A] == Outcome(2, 2, 1, 1)


def test_who_moved_to_another_variant_counts_there_from_then_on(store: Store) -> None:
    outcomes = Outcomes(store, LIKED)
    outcomes.expose([shelf(A, "ann", 10.0, "x")])
    told(store, outcomes, event(1, "ann", "x", 5.0, 11.0))
    outcomes.expose([shelf(B, "ann", 20.0), shelf(MAIL, "ann", 20.0)])

    told(store, outcomes, event(2, "ann", "y", 5.0, 21.0))

    assert outcomes.counts == {A: Outcome(1, 1, 1, 1), B: Outcome(1, 1, 1, 0), MAIL: Outcome(1, 1, 1, 0)}


def test_a_write_that_fails_moves_nothing(store: Store) -> None:
    outcomes = Outcomes(store, LIKED)
    outcomes.expose([shelf(A, "ann", 10.0, "x")])
    before = outcomes.counts
    [pages] = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    many = [event(number, "ann", f"item {number}", 5.0, 11.0) for number in range(5000)]
    [answer] = carry_out(store, [Record(many)], outcomes).answers
    with pytest.raises(CuelightError, match="disk is full"):
        outcomes.expose([shelf(A, f"user {number}", 11.0) for number in range(5000)])

    assert isinstance(answer, CuelightError)
    assert outcomes.counts == before == Outcomes(store, LIKED).counts


def test_who_only_looked_is_forgotten_to_the_last_byte(store: Store) -> None:
    outcomes = Outcomes(store, LIKED)
    outcomes.expose([shelf(A, f"user {number}", 10.0, "xyz") for number in range(500)])
    outcomes.expose([shelf(A, "person-4711", 10.0, "xyz")])
    assert b"person-4711" in bytes_in(store.path.parent)

    written = carry_out(store, [ForgetUsers(["person-4711"])], outcomes)

    assert (written.answers, written.news[0].forgotten) == ([1], frozenset())
    assert b"person-4711" not in bytes_in(store.path.parent)
    assert outcomes.counts[A] == Outcome(500, 500, 0, 0)


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_all_that_is_stored_of_a_users_part_can_be_told(store: Store) -> None:
    outcomes = Outcomes(store, LIKED)
    outcomes.expose([shelf(A, "ann", 10.0, "x"), shelf(MAIL, "ann", 11.0, "xy"), shelf(A, "bob", 1.0, "z")])
    outcomes.expose([shelf(A, "ann", 12.0, "xz")])

    assert store.export_user("ann") == []
    assert [(one.key, one.first_s, one.shelves) for one in store.exposures.exposures_of("ann")] == [
        (A, 10.0, 2),
        (MAIL, 11.0, 1),
    ]
    assert [(one.experiment, one.item, one.first_s) for one in store.exposures.shown_to("ann")] == [
        ("home", "x", 10.0),
        ("mail", "x", 11.0),
        ("mail", "y", 11.0),
        ("home", "z", 12.0),
    ]


def test_experiments_that_come_and_go_keep_what_came_of_them(store: Store) -> None:
    Outcomes(store, LIKED).expose([shelf(A, "ann", 10.0, "x")])

    store.declare_experiments({"mail": {"new": 0.25, "only": 0.75}})

    found = [(one.key, one.position, one.share) for one in store.exposures.declared()]
    assert found == [
        (A, None, None),
        (B, None, None),
        (VariantKey("mail", "new"), 0, 0.25),
        (MAIL, 1, 0.75),
    ]
    assert Outcomes(store, LIKED).counts[A] == Outcome(1, 1)


def test_an_error_after_something_is_stored_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.declare_experiments(SHARES)
    outcomes = Outcomes(store, LIKED)

    def fail() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(outcomes, "recount", fail)
    carry_out(store, [Record([Event("1", "u", "i", 5.0, 1.0)])], outcomes)
    with pytest.raises(NotLearned, match="stored, but not learned: disk I/O error"):
        carry_out(store, [ForgetUsers(["u"])], outcomes)

    assert not store.knows("u")
    store.close()
