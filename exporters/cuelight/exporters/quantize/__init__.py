"""Smaller and faster files of a model: weights, or all of it, in 8 or 16 bits, and what accuracy that costs.

`methods` converts, `judge` measures, `exclusion` finds the nodes to leave alone, `export` puts it into a repository.
"""

__all__: list[str] = []
"""Import from the modules."""
