"""Whose variant is which, and what it sets; and experiments as a configuration file says them."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.server.config_file import read_toml, to_json
from cuelight.server.errors import ConfigError, InvalidRequest, NotFound
from cuelight.server.recommender.boosts import Boost
from cuelight.server.recommender.catalogue import ItemFilter, NumberRange
from cuelight.server.recommender.config import RecommenderConfig, build_recommender_config
from cuelight.server.recommender.experiments.assignment import assigned
from cuelight.server.recommender.experiments.experiments import Experiments, OptionsByQuery
from cuelight.server.recommender.shelves import Query
from cuelight.server.recommender.store.exposures import VariantKey

USERS = [f"user {n}" for n in range(10_000)]
DEVIATIONS = 5
"""A count of so many users is within so many standard deviations of its mean; with fixed names, always or never."""

TOML = """
[data]
folder = "likes"

[[experiments]]
name = "home"

[[experiments.variants]]
name = "control"
share = 0.5

[[experiments.variants]]
name = "bold"
share = 0.5
blend = { ease = 1.0, popularity = -5 }
n = 20
diversity = 0.3
exploration = 0.1
filter = { none_tags = ["old"], ranges = [{ name = "year", min = 1980 }] }

[[experiments.variants.boosts]]
name = "new"
filter = { any_tags = ["new"] }
factor = 1.5

[[experiments.variants.boosts]]
item_ids = ["a", "b"]
add = 2

[[experiments]]
name = "mail"

[[experiments.variants]]
name = "only"
share = 1
model = "item_cosine"
include_seen = true
"""


def variants_of(shares: dict[str, float], experiment: str = "home") -> list[str]:
    return [assigned(experiment, shares, user) for user in USERS]


def moved(before: dict[str, float], after: dict[str, float]) -> Counter[tuple[str, str]]:
    pairs = zip(variants_of(before), variants_of(after), strict=True)
    return Counter(pair for pair in pairs if pair[0] != pair[1])


def close(count: int, probability: float) -> bool:
    mean = len(USERS) * probability
    return abs(count - mean) <= DEVIATIONS * math.sqrt(mean * (1 - probability))


def test_variants_get_their_shares_and_one_without_a_share_gets_nobody() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2, "off": 0.0}

    found = Counter(variants_of(shares))

    assert "off" not in found
    assert all(close(found[name], share) for name, share in shares.items() if share)


def test_a_user_stays_whatever_the_order_of_variants() -> None:
    assert variants_of({"a": 0.5, "b": 0.3, "c": 0.2}) == variants_of({"c": 0.2, "a": 0.5, "b": 0.3})
    assert assigned("home", {"control": 0.5, "bold": 0.5}, "ann") == "bold", "the same everywhere, for ever"
    assert assigned("home", {"control": 0.5, "bold": 0.5}, "carl") == "control"


def test_experiments_are_independent() -> None:
    shares = {"a": 0.5, "b": 0.5}

    both = Counter(zip(variants_of(shares, "home"), variants_of(shares, "mail"), strict=True))

    assert all(close(both[first, second], 0.25) for first in "ab" for second in "ab")


def test_names_that_run_together_are_not_the_same() -> None:
    shares = {"a": 0.5, "b": 0.5}

    assert [assigned("home1", shares, f"{n}") for n in range(50)] != [
        assigned("home", shares, f"1{n}") for n in range(50)
    ]


def test_of_two_variants_no_more_move_than_must_and_none_the_other_way() -> None:
    found = moved({"a": 0.5, "b": 0.5}, {"a": 0.3, "b": 0.7})

    assert set(found) == {("a", "b")}
    assert close(found["a", "b"], 0.2)


def test_a_new_variant_takes_its_users_and_moves_nobody_else() -> None:
    found = moved({"a": 0.5, "b": 0.5}, {"a": 0.4, "b": 0.4, "new": 0.2})

    assert set(found) == {("a", "new"), ("b", "new")}
    assert close(sum(found.values()), 0.2)


def test_any_change_moves_no_more_than_the_bound() -> None:
    found = moved({"a": 0.4, "b": 0.4, "c": 0.2}, {"a": 0.2, "b": 0.4, "c": 0.4})

    least = 0.2
    assert sum(found.values()) / len(USERS) <= 2 * least / (1 + least)
    assert not {("c", "a"), ("c", "b"), ("b", "a")} & set(found), "who must not lose users keeps them"


@pytest.fixture
def config(tmp_path: Path) -> RecommenderConfig:
    file = tmp_path / "recommender.toml"
    file.write_text(TOML)
    return build_recommender_config(read_toml(file, RecommenderConfig))


@pytest.fixture
def experiments(config: RecommenderConfig) -> Experiments:
    return Experiments(config.experiments)


def user_in(experiments: Experiments, variant: str) -> Query:
    return Query(next(user for user in USERS if experiments.variant_of("home", user).variant == variant))


def test_toml_and_json_lead_to_the_same_experiments(config: RecommenderConfig) -> None:
    [home, mail] = config.experiments

    assert [(one.name, one.share) for one in home.variants] == [("control", 0.5), ("bold", 0.5)]
    assert (home.variants[1].blend, home.variants[1].boosts[1].add) == ({"ease": 1.0, "popularity": -5.0}, 2.0)
    assert mail.variants[0].include_seen
    assert build_recommender_config(json.loads(to_json(config))).experiments == config.experiments


def test_a_variant_sets_what_the_request_does_not(experiments: Experiments) -> None:
    options, key = OptionsByQuery(pb.ShelfOptions(experiment="home"), experiments).of(user_in(experiments, "bold"))

    assert key == VariantKey("home", "bold")
    assert (options.blend, options.n, options.diversity) == ({"ease": 1.0, "popularity": -5.0}, 20, 0.3)
    assert options.conditions == ItemFilter(none_tags=("old",), ranges=(NumberRange("year", 1980.0),))
    assert options.boosts == (
        Boost("new", conditions=ItemFilter(any_tags=("new",)), factor=1.5),
        Boost("boost", ("a", "b"), add=2.0),
    )
    assert options.exploration == 0.1
    assert options.seed > 0


def test_a_request_goes_before_its_variant(experiments: Experiments) -> None:
    mine = pb.Boost(name="mine", item_ids=["a"])
    message = pb.ShelfOptions(
        experiment="home", model="als", n=3, filter=pb.Filter(any_tags=["x"]), boosts=[mine], seed=7
    )

    options, _ = OptionsByQuery(message, experiments).of(user_in(experiments, "bold"))

    assert (options.model, options.blend, options.n) == ("als", {}, 3)
    assert options.conditions == ItemFilter(any_tags=("x",))
    assert [boost.name for boost in options.boosts] == ["mine"]
    assert (options.exploration, options.seed) == (0.1, 7)


def test_a_variant_that_sets_nothing_leaves_the_defaults(experiments: Experiments) -> None:
    options, key = OptionsByQuery(pb.ShelfOptions(experiment="home"), experiments).of(user_in(experiments, "control"))
    plain, none = OptionsByQuery(pb.ShelfOptions(), experiments).of(Query("anybody"))

    assert (key, none) == (VariantKey("home", "control"), None)
    assert options == plain


def test_a_time_since_when_stands_against_a_variant_that_includes_what_was_seen(experiments: Experiments) -> None:
    message = pb.ShelfOptions(experiment="mail")
    included, _ = OptionsByQuery(message, experiments).of(Query("ann"))
    message.exclude_seen_since.seconds = 5

    since, _ = OptionsByQuery(message, experiments).of(Query("ann"))

    assert (included.include_seen, since.include_seen, since.exclude_seen_since_s) == (True, False, 5.0)


def test_queries_of_one_variant_have_the_same_options(experiments: Experiments) -> None:
    options = OptionsByQuery(pb.ShelfOptions(experiment="home"), experiments)

    assert len({id(options.of(Query(user))[0]) for user in USERS[:100]}) == 2


def test_a_history_takes_no_part(experiments: Experiments) -> None:
    options, key = OptionsByQuery(pb.ShelfOptions(experiment="home"), experiments).of(Query(history={"i": 1.0}))

    assert key is None
    assert (options.n, options.blend) == (10, {})


def test_an_experiment_that_is_not_there_is_said_with_those_that_are(experiments: Experiments) -> None:
    with pytest.raises(NotFound, match='experiment "away": there are home, mail'):
        OptionsByQuery(pb.ShelfOptions(experiment="away"), experiments)
    with pytest.raises(NotFound, match='experiment "home": there are none'):
        OptionsByQuery(pb.ShelfOptions(experiment="home"), Experiments(()))
    with pytest.raises(InvalidRequest, match="diversity"):
        OptionsByQuery(pb.ShelfOptions(experiment="home", diversity=3.0), experiments)


def experiment(**changes: Any) -> dict[str, Any]:
    return {"name": "home", "variants": [{"name": "a", "share": 1.0, **changes}]}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([experiment(share=0.9)], 'experiment "home": share: got shares that add up to 0.9, expected 1'),
        ([experiment(share=1.5)], 'variant "a": share: got 1.5, expected 0 to 1'),
        ([experiment(share="half")], r"experiments\[0\].variants\[0\].share: expected a number, got 'half'"),
        ([experiment(model="eaze")], 'variant "a": model: got "eaze", expected one of popularity'),
        ([experiment(model="ease", blend={"als": 1.0})], 'variant "a": got model and blend, expected one'),
        ([experiment(blend={"hybrid": 1.0})], 'variant "a": blend: got "hybrid", expected some of'),
        ([experiment(blend={"als": float("nan")})], 'variant "a": blend: als: got nan, expected a finite number'),
        ([experiment(blend=["als"])], r"variants\[0\].blend: expected a table, got \['als'\]"),
        ([experiment(n=1001)], 'variant "a": n: got 1001, expected 1 to 1000'),
        ([experiment(diversity=-1.0)], 'variant "a": diversity: got -1.0, expected 0 to 1'),
        ([experiment(exploration=float("nan"))], 'variant "a": exploration: got nan, expected 0 to 1'),
        ([experiment(boosts=[{"name": "sale", "factor": 0.0}])], 'boosts: "sale": factor: got 0.0, expected'),
        ([experiment(boosts=[{"faktor": 2.0}])], r"unknown key experiments\[0\].variants\[0\].boosts\[0\].faktor"),
        ([experiment(boosts=[{"name": "sale", "factor": 2.0}])], 'boosts: "sale": got neither item_ids nor filter'),
        ([experiment(max_reasons=-1)], 'variant "a": max_reasons: got -1, expected 0'),
        ([experiment(boosts=[{"item_ids": ["i"]}] * 101)], 'variant "a": boosts: got 101, expected 100 at most'),
        ([experiment(filter={"ranges": [{"name": "y", "min": 2, "max": 1}]})], 'ranges: "y": got min 2.0 and max 1.0'),
        ([experiment(seed=1)], r"unknown key experiments\[0\].variants\[0\].seed; keys are name, share"),
        ([{"name": "home", "variants": [{"share": 1.0}]}], r"experiments\[0\].variants\[0\]: name must be set too"),
        ([{"name": "home"}], r"experiments\[0\]: variants must be set too"),
        ([{"name": "home", "variants": []}], 'experiment "home": variants: got none, expected one or more'),
        ([experiment(name="")], 'variants: name: got "", expected 1 to 64 bytes'),
        ([{**experiment(), "name": "x" * 65}], "experiments: name: got .*, expected 1 to 64 bytes"),
        ([experiment(), experiment()], 'experiments: name: got "home" 2 times, expected each once'),
        (
            [{"name": "home", "variants": [{"name": "a", "share": 0.5}] * 2}],
            'experiment "home": variants: name: got "a" 2 times',
        ),
        ("home", "experiments: expected a list, got 'home'"),
        (["home"], r"experiments\[0\]: expected a table, got 'home'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_at_the_start(tables: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_recommender_config({"data": {"folder": Path("d")}, "experiments": tables})
