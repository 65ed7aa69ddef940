"""TextService: texts and words as vectors, tokens, and sequences made of texts. This package itself imports nothing."""

__all__: list[str] = []
