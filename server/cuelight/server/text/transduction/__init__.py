"""Text into another sequence: see `servicer`. This package itself imports nothing."""

__all__: list[str] = []
