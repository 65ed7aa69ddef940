"""Interactions as tests write them down."""

from collections.abc import Sequence

import numpy as np

from cuelight.server.recommender.importing.interactions import Interactions

__all__ = ["Row", "told"]

Row = tuple[str, str, float, float]
"""User, item, value, time in seconds."""


def told(rows: Sequence[Row], event_ids: Sequence[str] | None = None, has_times: bool = True) -> Interactions:
    """Return rows as they come out of a file."""
    users, items = [row[0] for row in rows], [row[1] for row in rows]
    user_ids, item_ids = tuple(dict.fromkeys(users)), tuple(dict.fromkeys(items))
    return Interactions(
        np.array([user_ids.index(user) for user in users], np.int64),
        np.array([item_ids.index(item) for item in items], np.int64),
        np.array([row[2] for row in rows], np.float64),
        np.array([row[3] for row in rows], np.float64),
        user_ids,
        item_ids,
        event_ids,
        True,
        has_times,
    )
