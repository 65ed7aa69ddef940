"""What models are called, in the order of tables; apart, so that a command line can list them without loading any."""

__all__ = ["FITTED_NAMES", "MODEL_NAMES"]

MODEL_NAMES = ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease", "als", "sequential", "hybrid")
FITTED_NAMES = tuple(name for name in MODEL_NAMES if name != "sequential")
"""Those that are fitted at every start; the others are trained by a command."""
