"""A user's own model: from `package.module:factory` and a checkpoint to a spec that is exported like any other.

locate (the factory) -> checkpoint (read the file) -> fit (put the weights in) -> inputs (examples) -> own_spec
"""

__all__: list[str] = []
