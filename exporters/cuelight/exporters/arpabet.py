"""ARPAbet: the phonemes of English as CMUdict and the models trained on it write them.

Source: the CMU Pronouncing Dictionary, cmudict.phones.
"""

__all__ = ["CONSONANTS", "STRESSED_VOWELS"]

_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
STRESSED_VOWELS = tuple(f"{vowel}{stress}" for vowel in _VOWELS for stress in "012")
"""A vowel's digit is its stress: 0 none, 1 primary, 2 secondary."""
CONSONANTS = tuple(_CONSONANTS.split())
