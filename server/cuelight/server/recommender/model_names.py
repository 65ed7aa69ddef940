"""What models are called, in the order of tables; apart, so that a command line can list them without loading any."""

__all__ = ["MODEL_NAMES"]

MODEL_NAMES = ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease", "als", "hybrid")
