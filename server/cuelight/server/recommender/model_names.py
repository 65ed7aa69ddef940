"""What models are called, in the order of tables; apart, so that a command line can list them without loading any."""

__all__ = ["FITTED_NAMES", "MAX_LIKED_ITEMS", "MODEL_NAMES"]

MODEL_NAMES = ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease", "als", "sequential", "hybrid")
FITTED_NAMES = tuple(name for name in MODEL_NAMES if name != "sequential")
"""Those that are fitted at every start; the others are trained by a command."""

MAX_LIKED_ITEMS = 20_000
"""By default `item_cosine` and `ease` are there for up to so many items that somebody likes: G and its inverse take
2 x 3 GiB then, and half as much again while the inverse is computed anew."""
