"""Which models know somebody who was forgotten: as the database has it, against what was written down beside it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store

USERS = "abcd"


@dataclass
class Read:
    """A model: what the store was when it was trained, and who was in it."""

    last_event: int
    forgettings: int
    users: set[str] = field(default_factory=set)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from(USERS), st.just("train"), st.sets(st.sampled_from(USERS), min_size=1)), max_size=25
    )
)
def test_a_model_is_known_to_know_whom_it_knew(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | set[str]]
) -> None:
    store = Store(tmp_path_factory.mktemp("forgettings"))
    here: set[str] = set()
    models: list[Read] = []
    for number, step in enumerate(steps):
        if isinstance(step, set):
            store.forget_users(step)
            here -= step
            for model in models:
                if model.users & step:
                    model.users.add("somebody forgotten")
                model.users -= step
        elif step == "train":
            models.append(Read(store.last_sequence(), store.forgettings(), set(here)))
        else:
            store.record([Event(f"e{number}", step, "item", 1.0, 1.0)])
            here.add(step)

    for model in models:
        known = store.forgotten_since(model.forgettings, model.last_event)
        assert known == ("somebody forgotten" in model.users)
    store.close()


def test_who_is_not_there_is_not_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)

    store.forget_users(["never heard of"])

    assert store.forgettings() == 0
    store.close()


def test_a_model_knows_whose_likes_were_deleted_with_their_items(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.record([Event("e1", "somebody", "gone", 1.0, 1.0)])
    trained_at, forgettings = store.last_sequence(), store.forgettings()
    store.delete_items(["gone"])
    store.record([Event("e2", "somebody", "item", 1.0, 2.0)])

    store.forget_users(["somebody"])

    assert store.forgotten_since(forgettings, trained_at)
    store.close()


def test_many_forgettings_are_few_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(20):
        store.record([Event(f"e{number}", f"u{number}", "item", 1.0, 1.0)])
    for number in reversed(range(20)):
        store.forget_users([f"u{number}"])

    [rows] = store._connection.execute("SELECT count(*) FROM forgettings").fetchone()

    assert store.forgettings() == 20
    assert rows == 1
    assert store.forgotten_since(19, 1)
    assert not store.forgotten_since(20, 20)
    store.close()
