"""Handwritten digits, 28 x 28 pixels in gray: the smallest useful CNN, trained here.

`train` makes the checkpoint and measures it, `spec` exports it. This package itself imports nothing.
"""

__all__: list[str] = []
"""Import from the modules."""
