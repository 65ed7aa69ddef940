"""Likes in the shape of MovieLens 1M, made up: 6,040 users, 3,706 films, some 575,000 likes.

What is popular and who is busy follow the same kind of curve as there: the popularity of films falls as a power of
their rank, the likes of users are log-normal about a median of 60. Which films of the popular ones a user picks
hangs on two of 18 genres, so that there is something to learn. Everything is drawn with one seed.
Source of the counts: MovieLens 1M's README, and the ratings of 4 and 5 in it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["ITEMS", "LIKES", "USERS", "Likes", "made_up_likes", "write_likes"]

USERS, ITEMS, LIKES = 6040, 3706, 575_000
_GENRES = 18
_MEDIAN_LIKES, _SPREAD = 60.0, 1.0
_FEWEST_LIKES = 5
_FALL = 1.3
"""The exponent of popularity over rank; flattened at the head by `_HEAD`, as no film is liked by everybody."""
_HEAD = 100
_LIKED_GENRE = 6.0
_BEGIN_S, _SPAN_S = 960_000_000, 86_400 * 1000


@dataclass(frozen=True, slots=True, eq=False)
class Likes:
    """One row a like: user, item, time in seconds; and the two genres of each item, (items, 2)."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times_s: NDArray[np.int64]
    genres: NDArray[np.int64]


def made_up_likes(users: int = USERS, items: int = ITEMS, likes: int = LIKES, seed: int = 1) -> Likes:
    """Return likes, no pair twice, about as many as asked for: counts of users are cut at half of the items."""
    generator = np.random.default_rng(seed)
    genres = generator.integers(0, _GENRES, (items, 2))
    popularity: NDArray[np.float64] = np.power(np.arange(items) + _HEAD, -_FALL)
    generator.shuffle(popularity)
    busy = generator.lognormal(np.log(_MEDIAN_LIKES), _SPREAD, users)
    counts = np.clip(busy * (likes / busy.sum()), _FEWEST_LIKES, items // 2).astype(int)
    liked = [_chosen(generator, popularity, genres, count) for count in counts]
    who = np.repeat(np.arange(users), [len(one) for one in liked])
    what = np.concatenate(liked)
    times_s = np.sort(generator.integers(_BEGIN_S, _BEGIN_S + _SPAN_S, len(what)))
    order = generator.permutation(len(what))
    return Likes(who[order], what[order], times_s, genres)


def write_likes(likes: Likes, folder: Path) -> tuple[Path, Path]:
    """Write likes and items as Parquet that `cuelight recommender import` reads; return the two files."""
    import pyarrow  # noqa: PLC0415 (part of the extra recommender)
    from pyarrow import parquet  # noqa: PLC0415

    interactions, catalogue = folder / "likes.parquet", folder / "items.parquet"
    ids = [f"film {item}" for item in range(len(likes.genres))]
    told = {
        "user_id": [f"viewer {user}" for user in likes.users.tolist()],
        "item_id": [ids[item] for item in likes.items.tolist()],
        "timestamp": likes.times_s,
    }
    parquet.write_table(pyarrow.table(told), interactions)
    tags = [f"genre {one}|genre {other}" for one, other in likes.genres.tolist()]
    titles = [f"The {item % 97} of the {item % 89}" for item in range(len(ids))]
    parquet.write_table(pyarrow.table({"item_id": ids, "title": titles, "tags": tags}), catalogue)
    return interactions, catalogue


def _chosen(
    generator: np.random.Generator, popularity: NDArray[np.float64], genres: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Draw items without putting one back, by the largest of exponential keys. Source: Efraimidis, Spirakis 2006."""
    taste = generator.integers(0, _GENRES, 2)
    weights = popularity * np.where(np.isin(genres, taste).any(axis=1), _LIKED_GENRE, 1.0)
    keys = generator.exponential(size=len(weights)) / weights
    return np.argpartition(keys, count)[:count].astype(np.int64)
