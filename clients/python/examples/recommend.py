"""Recommend, say why, learn and unlearn: `python recommend.py [--url 127.0.0.1:8003] [--user 723]`.

Prints what a user of the data likes and a shelf with reasons; then the user rates the first item of it, the shelf
changes, and the rating is taken back.
"""

import argparse
from collections.abc import Sequence

from cuelight.client import Channel, Interaction, Reason, Recommendation, RecommenderClient, Shelf, ShelfOptions

LIKED = 5.0
RATED = 5
REASONS = 3


def main() -> None:
    """Show the shelf before, between and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="127.0.0.1:8003")
    parser.add_argument("--user", default="723")
    parser.add_argument("--n", type=int, default=5)
    options = parser.parse_args()
    with Channel(options.url) as channel:
        client = RecommenderClient(channel)
        titles = Titles(client)
        asked = ShelfOptions(n=options.n, explain=True)
        print_rated(client.export_user(options.user).interactions, titles)
        before = client.recommend(options.user, asked)
        print(f"  What may user {options.user} like next? By the model {before.model}, and why:")
        print_shelf(before, titles)

        rated = before.items[0].item_id
        print(f"  User {options.user} rates {titles[rated]} with {LIKED:.0f}. The next answer:")
        client.record([Interaction(options.user, rated, LIKED)])
        print_shelf(client.recommend(options.user, asked), titles, before)

        client.record([Interaction(options.user, rated, withdrawn=True)])
        after = client.recommend(options.user, asked)
        same = "the shelf from before" if after.item_ids == before.item_ids else "another shelf than before"
        print(f"  The rating is taken back. The next answer: {same}.")


class Titles:
    """The items' titles, each asked for once; an item without one has its id."""

    def __init__(self, client: RecommenderClient) -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def __getitem__(self, item_id: str) -> str:
        if item_id not in self._known:
            self._known[item_id] = self._client.get_item(item_id).title or item_id
        return self._known[item_id]


def print_rated(told: Sequence[Interaction], titles: Titles) -> None:
    """Print what a user has rated highest, the latest first."""
    latest = {interaction.item_id: interaction for interaction in told}.values()
    rated = [(one.value, one.time_s or 0.0, one.item_id) for one in latest if one.value is not None]
    best = sorted(rated, key=lambda one: one[:2], reverse=True)[:RATED]
    print(f"  User {told[0].user_id} has rated {len(rated)} items, highest and last")
    for value, _, item_id in best:
        print(f"      {value:.0f}  {titles[item_id]}")


def print_shelf(shelf: Shelf, titles: Titles, before: Shelf | None = None) -> None:
    """Print a shelf with reasons, and how each item has moved since an earlier one."""
    for place, item in enumerate(shelf.items):
        moved = "" if before is None else f"{movement(item.item_id, place, before):<5}"
        print(f"  {place + 1:>3}. {moved}{titles[item.item_id]}\n          {reasons_of(item, titles)}")


def movement(item_id: str, place: int, before: Shelf) -> str:
    """Return where an item has come from: "new", or so many places up or down."""
    if item_id not in before.item_ids:
        return "new"
    up = before.item_ids.index(item_id) - place
    return f"{'+' if up > 0 else ''}{up}" if up else "="


def reasons_of(item: Recommendation, titles: Titles) -> str:
    """Return the largest reasons, each with its part of the score."""
    parts = [(reason.share / (item.score or 1.0), name_of(reason, titles)) for reason in item.reasons[:REASONS]]
    shown = ", ".join(f"{part:.0%} {name}" for part, name in parts)
    more = len(item.reasons) - REASONS
    return f"{shown} and {more} more" if more > 0 else shown


def name_of(reason: Reason, titles: Titles) -> str:
    """Return what a reason names: an item's title, or a property."""
    return titles[reason.item_id] if reason.item_id is not None else str(reason.feature)


if __name__ == "__main__":
    main()
