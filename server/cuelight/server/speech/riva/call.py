"""One call from a Riva client, as our speech service sees it: its context, and what of its wishes is left out."""

from collections.abc import Mapping

from cuelight.server.rpc.context import Metadata, RpcContext

__all__ = ["IGNORED_KEY", "RivaCall"]

IGNORED_KEY = "cuelight-ignored"
"""Trailing metadata, once for each option that was left out: `profanity_filter: nothing is masked`."""

_MAX_VALUE_LENGTH = 160
_MAX_IGNORED = 24
"""Together under 4 KiB: gRPC clients take 8 KiB of metadata by default."""


class RivaCall:
    """An `RpcContext` that adds what was ignored to the trailing metadata, whatever our service sets there itself."""

    def __init__(self, context: RpcContext) -> None:
        self._context = context
        self._trailing: Metadata = ()
        self._ignored: dict[str, str] = {}

    @property
    def attachment(self) -> object:
        """See `RpcContext`."""
        return self._context.attachment

    @attachment.setter
    def attachment(self, attachment: object) -> None:
        self._context.attachment = attachment

    def metadata(self) -> Metadata:
        """Return the request metadata; see `RpcContext`."""
        return self._context.metadata()

    def deadline(self) -> float | None:
        """Return the deadline; see `RpcContext`."""
        return self._context.deadline()

    def peer(self) -> str:
        """Return the caller's address; see `RpcContext`."""
        return self._context.peer()

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Set the pairs beside those of what is ignored; see `RpcContext`."""
        self._trailing = tuple(metadata)
        self._send()

    def ignore(self, options: Mapping[str, str]) -> None:
        """Tell the caller that these options are left out; the first reason for an option is kept."""
        new = {name: reason for name, reason in options.items() if name not in self._ignored}
        if new:
            self._ignored.update(new)
            self._send()

    def _send(self) -> None:
        told = [(IGNORED_KEY, _printable(f"{name}: {reason}")) for name, reason in self._ignored.items()]
        self._context.set_trailing_metadata((*self._trailing, *told[:_MAX_IGNORED]))


def _printable(text: str) -> str:
    """Return the text as metadata can carry it: ASCII from space to tilde, and not too long."""
    return text.encode("unicode_escape").decode("ascii")[:_MAX_VALUE_LENGTH]
