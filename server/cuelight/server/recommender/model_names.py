"""What models are called, in the order of tables; apart, so that a command line can list them without loading any."""

__all__ = ["MAX_LIKED_ITEMS", "MODEL_NAMES"]

MODEL_NAMES = ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease", "als", "hybrid")

MAX_LIKED_ITEMS = 20_000
"""By default `item_cosine` and `ease` are there for up to so many items that somebody likes: G and its inverse take
2 x 3 GiB then, and a third as much again while the inverse is computed anew."""
