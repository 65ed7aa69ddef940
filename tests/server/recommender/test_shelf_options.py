"""Options of a shelf together: what was seen and since when, boosts with their reasons, exploration that can be asked
for again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.boosts import Boost
from cuelight.server.recommender.catalogue import ItemFilter
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.models.scorer import Reason
from cuelight.server.recommender.shelf_maker import _largest
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.writes import DeleteItems, ForgetUsers, Record, UpsertItems
from tests.server.recommender.test_live_models import like, shelf, started, write

ANN = Query("ann")
EVEN = ItemFilter(any_tags=("even",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Twenty items, i0 liked most and i19 least; ann told of i0 at 1000 and of i1, which she does not like, at 2000."""
    opened = Store(tmp_path)
    opened.upsert_items({f"i{i}": ItemAttributes(f"Song {i}", ("even" if i % 2 == 0 else "odd",)) for i in range(20)})
    opened.record([like(f"u{u}", f"i{i}", 100 * u + i) for u in range(21) for i in range(20 - u)])
    opened.record([like("ann", "i0", 1000 * 1000), like("ann", "i1", 2000 * 1000, value=0.0)])
    yield opened
    opened.close()


def items(answer: Shelf) -> list[str]:
    return [item.item for item in answer.items]


def explored(answer: Shelf) -> list[str]:
    return [item.item for item in answer.items if item.explored]


def test_what_was_told_of_is_seen_liked_or_not_until_it_is_taken_back(store: Store) -> None:
    models = started(store)
    assert not {"i0", "i1"} & set(items(shelf(models, ANN, n=100)))

    write(store, models, Record([like("ann", "i1", 3_000_000, value=None), like("ann", "i2", 3_000_001, value=0.0)]))
    assert {"i0", "i1", "i2"} - set(items(shelf(models, ANN, n=100))) == {"i0", "i2"}

    write(store, models, Record([like("ann", "i2", 3_000_002), like("ann", "i0", 3_000_003, value=0.0)]))
    assert {"i0", "i1", "i2"} - set(items(shelf(models, ANN, n=100))) == {"i0", "i2"}
    assert set(items(shelf(models, ANN, n=100, include_seen=True))) == {f"i{i}" for i in range(20)}


def test_who_told_only_of_what_they_do_not_like_gets_a_cold_shelf_without_it(store: Store) -> None:
    models = started(store)
    write(store, models, Record([like("bob", "i0", 3_000_000, value=0.0)]))

    answer = shelf(models, Query("bob"), n=3)

    assert (answer.cold, items(answer)) == (True, ["i1", "i2", "i3"])


def test_what_was_seen_is_gone_with_the_user_and_with_the_item(store: Store) -> None:
    models = started(store)
    write(store, models, Record([like("bob", "i2", 3_000_000, value=0.0)]))

    write(store, models, DeleteItems(["i1"]), ForgetUsers(["bob"]))
    write(store, models, Record([like("carl", "i3", 3_000_001, value=0.0)]), UpsertItems({"i1": ItemAttributes()}))

    assert "i1" in items(shelf(models, ANN, n=100)), "it is another item now"
    assert "i2" in items(shelf(models, Query("carl"), n=100)), "whoever has bob's place has not seen what bob saw"


@pytest.mark.parametrize(
    ("since_s", "off"),
    [(0.0, {"i0", "i1"}), (1e6, {"i0", "i1"}), (1e6 + 1, {"i1"}), (2e6, {"i1"}), (2e6 + 1, set())],
)
def test_what_was_seen_before_a_time_may_be_shown_again(store: Store, since_s: float, off: set[str]) -> None:
    models = started(store)

    assert {"i0", "i1"} - set(items(shelf(models, ANN, n=100, exclude_seen_since_s=since_s))) == off


def test_a_history_that_comes_with_the_call_is_as_if_from_now(store: Store) -> None:
    models = started(store)

    answer = shelf(models, Query(history={"i0": 1.0}), n=100, exclude_seen_since_s=5e6)

    assert "i0" not in items(answer)


def test_since_and_include_seen_do_not_go_together() -> None:
    with pytest.raises(InvalidRequest, match="exclude_seen_since"):
        ShelfOptions(include_seen=True, exclude_seen_since_s=0.0)


@pytest.mark.parametrize("model", ["ease", "item_cosine", "popularity", "hybrid"])
def test_boosts_come_before_the_best_are_chosen_and_reasons_still_add_up(store: Store, model: str) -> None:
    models = started(store)
    lifted = (Boost("last first", ("i19",), add=100.0), Boost("evens", conditions=EVEN, factor=0.5))

    plain = {item.item: item.score for item in shelf(models, ANN, model=model, n=100).items}
    answer = shelf(models, ANN, model=model, n=18, boosts=lifted, explain=True)

    assert answer.items[0].item == "i19"
    for item in answer.items:
        shares = {reason.feature: reason.share for reason in item.reasons if reason.item is None}
        assert sum(reason.share for reason in item.reasons) == pytest.approx(item.score, abs=1e-12)
        assert item.reasons == tuple(sorted(item.reasons, key=lambda reason: -reason.share))
        even = int(item.item[1:]) % 2 == 0
        assert shares.get("evens", 0.0) == pytest.approx(-abs(plain[item.item]) / 2 if even else 0.0)
        assert ("last first" in shares) == (item.item == "i19")


@pytest.mark.parametrize("model", ["ease", "item_cosine", "popularity", "hybrid"])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_fewer_reasons_are_the_largest_and_what_the_others_come_to(store: Store, model: str, most: int) -> None:
    models = started(store)
    options = {"model": model, "explain": True, "n": 20, "boosts": (Boost("odd", ("i7", "i9"), add=-0.01),)}
    everything = shelf(models, Query("u9"), **options)

    answer = shelf(models, Query("u9"), **options, max_reasons=most)

    assert [item.score for item in answer.items] == [item.score for item in everything.items]
    for item, whole in zip(answer.items, everything.items, strict=True):
        if len(whole.reasons) <= most:
            assert item.reasons == whole.reasons
            continue
        *told, others = item.reasons
        assert (others.item, others.feature) == (None, "others")
        assert len(told) == most
        assert told == [reason for reason in whole.reasons if reason in told], "in their order"
        left = [abs(reason.share) for reason in whole.reasons if reason not in told]
        assert min(abs(reason.share) for reason in told) >= max(left)
        assert sum(reason.share for reason in item.reasons) == pytest.approx(item.score, abs=1e-12)


def test_others_that_come_to_nothing_are_left_out() -> None:
    reasons = [Reason(0.5, 1), Reason(0.25, 2), Reason(-0.25, 3)]

    assert _largest(reasons, 1) == [Reason(0.5, 1)]
    assert _largest(reasons, 2) == [Reason(0.5, 1), Reason(0.25, 2), Reason(-0.25, feature="others")]


def test_less_than_no_reasons_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="max_reasons: expected 0, for all, or more, got -1"):
        ShelfOptions(max_reasons=-1)


def test_a_boost_that_cannot_be_carried_out_fails_its_own_call_alone(store: Store) -> None:
    models = started(store)
    rocket = ShelfOptions(boosts=(Boost("rocket", ("i3",), factor=1e300),) * 2)

    refused, answered = models.recommend([(Query("u1"), rocket), (Query("u1"), ShelfOptions())])

    assert isinstance(refused, InvalidRequest)
    assert isinstance(answered, Shelf)


def test_a_boost_never_lets_in_what_the_filter_or_the_history_keeps_out(store: Store) -> None:
    models = started(store)
    lifted = (Boost(items=("i0", "i1", "i3", "i4"), add=100.0),)

    assert items(shelf(models, ANN, n=2, conditions=EVEN, boosts=lifted))[0] == "i4"
    assert {"i0", "i1", "i3"} & set(items(shelf(models, ANN, n=100, conditions=EVEN, boosts=lifted))) == set()


@pytest.mark.parametrize(
    "options",
    [{}, {"include_seen": True}, {"boosts": (Boost(items=("i4", "i5"), add=9.0),)}, {"diversity": 0.5}],
    ids=["plain", "seen", "boosted", "diverse"],
)
@pytest.mark.parametrize(
    "query", [ANN, Query("somebody new"), Query(history={"i3": 1.0})], ids=["known", "cold", "brought"]
)
def test_what_is_excluded_is_never_on_the_shelf(store: Store, query: Query, options: dict[str, object]) -> None:
    models = started(store)
    plain = shelf(models, query, n=20, **options)

    answer = shelf(models, query, n=20, excluded=("i4", "i5", "unheard of"), **options)

    assert set(items(plain)) - set(items(answer)) == {"i4", "i5"}
    for seed in range(20):
        explored_shelf = shelf(models, query, n=4, excluded=("i4", "i5"), exploration=1.0, seed=seed, **options)
        assert not {"i4", "i5"} & set(items(explored_shelf))


def test_what_is_excluded_is_no_similar_item_either(store: Store) -> None:
    models = started(store)
    plain = items(models.similar_items("i5", ShelfOptions("ease", n=100)))

    answer = items(models.similar_items("i5", ShelfOptions("ease", n=100, excluded=(plain[0], "unheard of"))))

    assert answer == plain[1:]


def test_more_than_may_be_excluded_is_refused() -> None:
    assert len(ShelfOptions(excluded=("i",) * 10_000).excluded) == 10_000
    with pytest.raises(InvalidRequest, match="exclude_item_ids: expected 10000 at most, got 10001"):
        ShelfOptions(excluded=("i",) * 10_001)


def test_an_explored_shelf_keeps_the_best_in_order_and_marks_the_rest(store: Store) -> None:
    models = started(store)
    best = items(shelf(models, ANN, n=5))

    for seed in range(30):
        answer = shelf(models, ANN, n=5, exploration=0.4, seed=seed)
        assert answer == shelf(models, ANN, n=5, exploration=0.4, seed=seed)
        assert answer.seed == seed
        assert len(explored(answer)) == 2
        assert not set(explored(answer)) & set(best)
        assert [item for item in items(answer) if item not in explored(answer)] == best[:3]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        (ANN, {"conditions": EVEN}),
        (ANN, {"conditions": EVEN, "diversity": 0.5}),
        (Query("somebody new"), {"conditions": EVEN}),
        (Query(history={"i3": 1.0}), {"conditions": EVEN, "boosts": (Boost(items=("i3", "i5"), add=9.0),)}),
    ],
    ids=["a filter", "diversity", "cold", "boosts and a history"],
)
def test_what_is_explored_passes_the_filter_and_was_not_seen(
    store: Store, query: Query, options: dict[str, object]
) -> None:
    models = started(store)
    plain = items(shelf(models, query, n=4, **options))
    reached: set[str] = set()

    for seed in range(60):
        answer = shelf(models, query, n=4, exploration=0.5, seed=seed, **options)
        assert len(items(answer)) == len(set(items(answer))) == 4
        assert all(int(item[1:]) % 2 == 0 for item in items(answer))
        assert [item for item in items(answer) if item not in explored(answer)] == plain[:2]
        reached.update(explored(answer))

    allowed = set(items(shelf(models, query, n=100, **options)))
    assert reached == allowed - set(plain), "everything below the shelf comes now and then"


def test_with_nothing_further_down_nothing_is_explored(store: Store) -> None:
    models = started(store)

    whole = shelf(models, ANN, n=100, exploration=1.0, seed=4)
    nearly = shelf(models, ANN, n=17, exploration=1.0, seed=4)
    nothing = shelf(models, ANN, n=5, exploration=1.0, seed=4, conditions=ItemFilter(any_tags=("unheard of",)))

    assert (len(whole.items), explored(whole), whole.seed) == (18, [], 4)
    assert len(explored(nearly)) == 1, "one item is below"
    assert (items(nothing), nothing.seed) == ([], 4)


def test_without_exploration_the_seed_is_of_no_account(store: Store) -> None:
    models = started(store)

    assert shelf(models, ANN, n=5, seed=9) == shelf(models, ANN, n=5)
    assert shelf(models, ANN, n=5, seed=9).seed == 0


def test_items_like_one_can_be_boosted_and_explored(store: Store) -> None:
    models = started(store)
    *_, last = items(models.similar_items("i5", ShelfOptions("item_cosine", n=100)))
    options = ShelfOptions("item_cosine", n=2, boosts=(Boost(items=("i5", last), add=9.0),), exploration=0.5, seed=3)

    answer = models.similar_items("i5", options)

    assert answer.items[0].item == last or answer.items[0].explored
    assert "i5" not in items(answer)
    assert len(explored(answer)) == 1


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_exploration_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(InvalidRequest, match=f"exploration: expected 0 to 1, got {share}"):
        ShelfOptions(exploration=share)


def test_more_boosts_than_fit_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="boosts: expected 100 at most, got 101"):
        ShelfOptions(boosts=(Boost(items=("i",)),) * 101)
