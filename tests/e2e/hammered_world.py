"""What is known of users and items while many callers change them: enough to judge any shelf."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from cuelight.recommender.v1 import recommender_pb2 as pb
from tests.e2e.registers import Moments, Register

__all__ = ["ITEMS", "MORTAL", "TAGS", "USERS", "World"]

TAGS = ("a", "b", "c", "d")
USERS = tuple(f"user {n}" for n in range(24))
ITEMS = tuple(f"item {n}" for n in range(60))
"""Items that are liked, and change; they are never deleted."""
MORTAL = tuple(f"mortal {n}" for n in range(20))
"""Items that are deleted and come back; nobody tells of them after the beginning."""

_RELATIVE = 1e-9
_ROUNDING = 1e-15
"""Of a score of nothing, that is 0 but for the inverse's last digits."""


@dataclass
class World:
    """Registers of what every item is and of who likes what, and the clock that orders calls and answers."""

    moments: Moments = field(default_factory=Moments)
    items: dict[str, Register[pb.Item | None]] = field(default_factory=dict)
    """None is a deleted item."""
    likes: dict[tuple[str, str], Register[bool]] = field(default_factory=dict)
    answers: int = 0
    """How many shelves were judged."""

    def __post_init__(self) -> None:
        self.items = {item: Register.holding(pb.Item(item_id=item)) for item in (*ITEMS, *MORTAL)}
        self.likes = {pair: Register.holding(False) for pair in itertools.product(USERS, (*ITEMS, *MORTAL))}

    def judge(
        self,
        shelf: pb.Shelf,
        user: str | None,
        history: Sequence[str],
        options: pb.ShelfOptions,
        began: float,
        ended: float,
    ) -> None:
        """Check a shelf that was made between two moments, for a user or for a history that came with the call."""
        shown = [item.item_id for item in shelf.items]
        assert len(shown) == len(set(shown)) <= (options.n or 10), shown
        assert [item.score for item in shelf.items] == sorted((item.score for item in shelf.items), reverse=True)
        for item in shelf.items:
            states = self.items[item.item_id].possible(began, ended)
            told = f"{item.item_id} for {user or history} by {shelf.model}, {began}..{ended}"
            assert any(passes(state, options.filter) for state in states), f"{told}: {options.filter} against {states}"
            if user is None:
                assert options.include_seen or item.item_id not in history, f"{told}: in the history"
            elif not options.include_seen:
                assert not all(self.likes[user, item.item_id].possible(began, ended)), f"{told}: seen"
            if options.explain:
                self._judge_reasons(item, user, history, told, began, ended)
        self.answers += 1

    def _judge_reasons(
        self, item: pb.Recommendation, user: str | None, history: Sequence[str], told: str, began: float, ended: float
    ) -> None:
        shares = [reason.share for reason in item.reasons]
        slack = _RELATIVE * max(abs(item.score), sum(map(abs, shares))) + _ROUNDING
        assert abs(sum(shares) - item.score) <= slack, f"{told}: {shares} do not add up to {item.score}"
        for named in (reason.item_id for reason in item.reasons if reason.WhichOneof("because") == "item_id"):
            known = named in history if user is None else any(self.likes[user, named].possible(began, ended))
            assert known, f"{told}: a reason names {named}, which is not in the history"


def passes(item: pb.Item | None, wanted: pb.Filter) -> bool:
    """Whether an item passes a filter, by the words of the contract."""
    if item is None or (item.unavailable and not wanted.include_unavailable):
        return False
    tags = set(item.tags)
    return (
        (not wanted.any_tags or bool(tags & set(wanted.any_tags)))
        and tags >= set(wanted.all_tags)
        and not tags & set(wanted.none_tags)
        and all(
            bounds.name in item.numbers
            and (not bounds.HasField("min") or bounds.min <= item.numbers[bounds.name])
            and (not bounds.HasField("max") or item.numbers[bounds.name] <= bounds.max)
            for bounds in wanted.ranges
        )
    )
