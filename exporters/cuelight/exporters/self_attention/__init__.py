"""Multi-head self-attention that shows its weights: handwritten digits as 16 patches that look at each other.

`train` makes the checkpoint and measures it, `spec` exports it. This package itself imports nothing.
"""

__all__: list[str] = []
"""Import from the modules."""
