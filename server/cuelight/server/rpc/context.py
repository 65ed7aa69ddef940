"""What a handler may know of the call it serves.

Handlers see this Protocol and nothing of the transport below it. Each front has its own implementation, built for every
call, so everything costly (metadata, deadline) is computed when asked for and not before.
"""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Metadata", "RpcContext"]

Metadata = Sequence[tuple[str, str | bytes]]
"""Keys are lower case; a key that ends in `-bin` has bytes as value, every other key has str."""


class RpcContext(Protocol):
    """One call, seen from its handler.

    A cancelled call, a vanished peer and a passed deadline all reach the handler as `asyncio.CancelledError`, raised
    where it awaits. A handler that hands work to a queue puts `deadline` into the entry, so that the work can be
    dropped before it is computed.

    `attachment` is free for the method's own use: what its shortcut has begun, for its handler to go on with.
    """

    attachment: object

    def metadata(self) -> Metadata:
        """Return the call's request metadata in the order it came."""
        ...

    def deadline(self) -> float | None:
        """Return the deadline on the clock of `time.monotonic()`, in seconds; None when the caller set none."""
        ...

    def peer(self) -> str:
        """Return the caller's address as `ipv4:127.0.0.1:50123`, `ipv6:[::1]:50123` or `unix:`."""
        ...

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Send these pairs with the call's status; a second call replaces the first one's pairs."""
        ...
