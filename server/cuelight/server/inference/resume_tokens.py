"""Resume tokens: a sequence's state, sealed, so that a client can carry it and cannot read or change it.

    "CLT1" | length, key id | salt (16) | nonce (12) | AES-256-GCM of a SequenceSnapshot | tag (16)

Everything before the ciphertext is authenticated with it. The key in the file is not used as it is: each process
derives its own from it by HKDF-SHA256 and a random salt, so that its nonces can be a counter and never meet another
server's under the same key. Source: NIST SP 800-38D, 8.2.1 (deterministic nonces); RFC 5869 (HKDF).
"""

import itertools
import math
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cuelight.inference.v1 import sequences_pb2 as pb
from cuelight.server.errors import InvalidRequest, SequenceNotActive
from cuelight.server.inference.sequence_batch import SequenceState
from cuelight.server.inference.sequence_spec import SequenceSpec
from cuelight.server.inference.sequences import SequenceId
from cuelight.server.inference.token_keys import KeyFile

__all__ = ["SEQUENCE_TOKEN", "TokenSealer", "sequence_id_of", "snapshot_of", "state_of"]

SEQUENCE_TOKEN = b"CLT1"
_SALT_BYTES = 16
_NONCE = struct.Struct(">IQ")
"""A fixed part of 4 bytes and a counter of 8."""
_TAG_BYTES = 16


class TokenSealer:
    """Seals snapshots and opens tokens. Owned by the event loop."""

    def __init__(self, keys: KeyFile, lifetime_s: float, now_s: Callable[[], float] = time.time) -> None:
        """`now_s` returns seconds of Unix time."""
        self._keys = keys
        self._lifetime_s = lifetime_s
        self._now_s = now_s
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._counter: Iterator[int] = itertools.count()

    def seal(self, snapshot: Any, magic: bytes = SEQUENCE_TOKEN) -> bytes:
        """Set the snapshot's expiry and return it as a token; `magic` says what kind of snapshot it is."""
        # The library takes 10 MiB: it is loaded with the first token, for most servers never seal one.
        from cuelight.server.inference import token_cipher  # noqa: PLC0415

        snapshot.expires_unix_s = self._now_s() + self._lifetime_s
        key = self._keys.current()[0]
        nonce = _NONCE.pack(0, next(self._counter))
        key_id = key.id.encode()
        header = b"".join((magic, bytes((len(key_id),)), key_id, self._salt, nonce))
        sealed: bytes = token_cipher.cipher(key, self._salt).encrypt(nonce, snapshot.SerializeToString(), header)
        return header + sealed

    def open(self, token: bytes) -> pb.SequenceSnapshot:
        """Return what a sequence's token holds; see `open_as`."""
        snapshot: pb.SequenceSnapshot = self.open_as(token, pb.SequenceSnapshot, SEQUENCE_TOKEN)
        return snapshot

    def open_as(self, token: bytes, kind: type[Any], magic: bytes) -> Any:
        """Return what a token of that kind holds.

        Raises: InvalidRequest for what is no token, was altered, or is sealed under a key that is not here;
        SequenceNotActive when it has expired.
        """
        from cuelight.server.inference import token_cipher  # noqa: PLC0415 - see seal

        header_bytes, key_id, salt, nonce = _parts(token, magic)
        keys = self._keys.current()
        key = next((key for key in keys if key.id == key_id), None)
        if key is None:
            here = ", ".join(f'"{key.id}"' for key in keys)
            raise InvalidRequest(f'resume_token: sealed with key "{key_id}", this server has {here}')
        try:
            content = token_cipher.cipher(key, salt).decrypt(nonce, token[header_bytes:], token[:header_bytes])
        except token_cipher.InvalidTag:
            raise InvalidRequest(
                f'resume_token: does not open with key "{key_id}": the token was altered, or the key differs here'
            ) from None
        snapshot = kind.FromString(content)
        late_s = self._now_s() - snapshot.expires_unix_s
        if late_s >= 0:
            raise SequenceNotActive(f"resume_token: expired {late_s:.0f} s ago; start over")
        return snapshot


def snapshot_of(
    model: str, version: int, digest: str, sequence_id: SequenceId, state: SequenceState, spec: SequenceSpec
) -> pb.SequenceSnapshot:
    """Return a sequence's state as a message; `digest` is the model file's, in hex."""
    snapshot = pb.SequenceSnapshot(
        model_name=model, model_version=version, model_digest=bytes.fromhex(digest), steps=state.steps
    )
    if isinstance(sequence_id, int):
        snapshot.sequence_id.number = sequence_id
    else:
        snapshot.sequence_id.text = sequence_id
    for declared, row in zip(spec.states, state.rows, strict=True):
        snapshot.states.add(
            name=declared.input, datatype=declared.datatype.name, shape=declared.shape, data=row.tobytes()
        )
    return snapshot


def state_of(snapshot: pb.SequenceSnapshot, spec: SequenceSpec) -> SequenceState:
    """Return the state a snapshot holds.

    Raises: SequenceNotActive when it is not of the model's form, which then is another model's.
    """
    rows: list[Any] = []
    if len(snapshot.states) != len(spec.states):
        raise SequenceNotActive(f"resume_token: holds {len(snapshot.states)} states, the model has {len(spec.states)}")
    for declared, came in zip(spec.states, snapshot.states, strict=True):
        form = f"{declared.input} {declared.datatype.name} {list(declared.shape)}"
        if (came.name, came.datatype, tuple(came.shape)) != (declared.input, declared.datatype.name, declared.shape):
            raise SequenceNotActive(
                f"resume_token: holds state {came.name} {came.datatype} {list(came.shape)}, the model has {form}"
            )
        if len(came.data) != math.prod(declared.shape) * declared.datatype.itemsize:
            raise SequenceNotActive(f"resume_token: state {form} has {len(came.data)} bytes")
        rows.append(np.frombuffer(came.data, declared.datatype.dtype).reshape(declared.shape))
    return SequenceState(tuple(rows), snapshot.steps)


def sequence_id_of(message: pb.SequenceId) -> SequenceId | None:
    """Return the id, None for none."""
    return message.number or None if message.WhichOneof("id") == "number" else message.text or None


def _parts(token: bytes, magic: bytes) -> tuple[int, str, bytes, bytes]:
    """Return the header's length, and key id, salt and nonce in it."""
    id_start = len(magic) + 1
    id_end = id_start + (token[len(magic)] if len(token) > len(magic) else 0)
    salt_end = id_end + _SALT_BYTES
    header_end = salt_end + _NONCE.size
    if not token.startswith(magic) or len(token) < header_end + _TAG_BYTES:
        raise InvalidRequest(f"resume_token: {len(token)} bytes that are no token of Cuelight")
    key_id = token[id_start:id_end].decode("utf-8", "backslashreplace")
    return header_end, key_id, token[id_end:salt_end], token[salt_end:header_end]
