"""Word error rate, for tests: how many words of what was said are wrong, missing or made up."""

import re
from collections.abc import Sequence

__all__ = ["word_error_rate", "word_errors", "words_of"]


def words_of(text: str) -> list[str]:
    """Return the words, lower-case and without punctuation; a hyphen separates."""
    return re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Return the least number of words to replace, add or leave out (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for at, word in enumerate(said, 1):
        before, row[0] = row[0], at
        for column, other in enumerate(heard, 1):
            changed = before + (word != other)
            before = row[column]
            row[column] = min(changed, before + 1, row[column - 1] + 1)
    return row[-1]


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Return the errors of all utterances over their words: 0 is right, and it may exceed 1."""
    pairs = [(words_of(one), words_of(other)) for one, other in zip(said, heard, strict=True)]
    return sum(word_errors(*pair) for pair in pairs) / sum(len(one) for one, _ in pairs)
