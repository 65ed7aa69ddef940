"""The keys that seal resume tokens: shared by a fleet, replaced without stopping anything.

    [[keys]]                    the first key seals, every key opens
    id = "2026-11"
    key = "base64 of 32 random bytes"

To rotate: add the new key as the second one on every server, then make it the first on every server, and take the old
one out once the tokens it sealed have expired. The file is looked at again whenever a token is sealed or opened, and
read again when it has changed; a file that has become unusable is reported and the keys read before stay.
"""

import base64
import binascii
import logging
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError

__all__ = ["KEY_BYTES", "KeyFile", "TokenKey", "new_key_entry", "read_keys"]

KEY_BYTES = 32
"""AES-256."""

_MAX_ID_BYTES = 64

_log = logging.getLogger("cuelight.tokens")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key and the id by which tokens name it."""

    id: str
    secret: bytes


def new_key_entry(key_id: str) -> str:
    """Return a new random key as it is written in a key file."""
    return f'[[keys]]\nid = "{key_id}"\nkey = "{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"\n'


def read_keys(path: Path) -> tuple[TokenKey, ...]:
    """Return the keys of a file, in its order.

    Raises: ConfigError naming the file and what is wrong with it; never the key itself.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    entries = content.get("keys")
    if set(content) != {"keys"} or not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: expected one or more [[keys]] and nothing else")
    keys = tuple(_key(entry, f"{path}: keys[{index}]") for index, entry in enumerate(entries))
    ids = [key.id for key in keys]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"{path}: key ids must differ, got {', '.join(ids)}")
    return keys


class KeyFile:
    """The keys that hold now. Without a file: one random key, made at the start. Owned by the event loop."""

    def __init__(self, path: Path | None) -> None:
        """Read the file. Raises: ConfigError."""
        self._path = path
        self._seen: tuple[int, int] | None = None
        if path is None:
            self._keys: tuple[TokenKey, ...] = (
                TokenKey(f"local-{secrets.token_hex(4)}", secrets.token_bytes(KEY_BYTES)),
            )
        else:
            self._keys = read_keys(path)
            self._seen = _stamp(path)

    @property
    def shared(self) -> bool:
        """Whether other servers may have these keys too."""
        return self._path is not None

    def current(self) -> tuple[TokenKey, ...]:
        """Return the keys, the one that seals first."""
        if self._path is not None and (stamp := _stamp(self._path)) != self._seen:
            self._seen = stamp
            try:
                self._keys = read_keys(self._path)
                _log.info("%s: read again, tokens are sealed with key %s", self._path, self._keys[0].id)
            except ConfigError as error:
                _log.error("%s; the keys read before stay", error)
        return self._keys


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _key(entry: Any, where: str) -> TokenKey:
    if (
        not isinstance(entry, dict)
        or set(entry) != {"id", "key"}
        or not all(isinstance(v, str) for v in entry.values())
    ):
        raise ConfigError(f'{where}: expected the strings "id" and "key"')
    if not 0 < len(entry["id"].encode()) <= _MAX_ID_BYTES:
        raise ConfigError(f"{where}: id: expected 1 to {_MAX_ID_BYTES} bytes, got {len(entry['id'].encode())}")
    try:
        secret = base64.b64decode(entry["key"], validate=True)
    except binascii.Error as error:
        raise ConfigError(f"{where}: key: not base64") from error
    if len(secret) != KEY_BYTES:
        raise ConfigError(f"{where}: key: expected {KEY_BYTES} bytes in base64, got {len(secret)}")
    return TokenKey(entry["id"], secret)
