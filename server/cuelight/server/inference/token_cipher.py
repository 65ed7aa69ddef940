"""AES-256-GCM under a key derived for one process; see resume_tokens.py. Imported when the first token is made."""

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cuelight.server.inference.token_keys import KEY_BYTES, TokenKey

__all__ = ["InvalidTag", "cipher"]

_DERIVED_KEYS = 256
"""Derived keys that are remembered: one for each server whose tokens come in."""


@lru_cache(maxsize=_DERIVED_KEYS)
def cipher(key: TokenKey, salt: bytes) -> AESGCM:
    """Return the cipher of the process that has this salt. Its `decrypt` raises InvalidTag."""
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"cuelight resume token").derive(key.secret))
