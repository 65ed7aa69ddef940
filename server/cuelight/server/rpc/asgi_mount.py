"""One method as the envoy front mounts it, and what its unary and streamed calls have in common."""

import asyncio
from dataclasses import dataclass

from google.protobuf.message import Message

from cuelight.server.errors import MessageTooLarge
from cuelight.server.rpc.asgi_call import AsgiCall, PeerGone
from cuelight.server.rpc.asgi_response import Send, send_status_only
from cuelight.server.rpc.disconnects import DisconnectWatch
from cuelight.server.rpc.failures import failed_call
from cuelight.server.rpc.ledger import CallLedger, MethodLedger
from cuelight.server.rpc.methods import Method
from cuelight.server.rpc.parsing import serialized
from cuelight.server.rpc.status import Status

__all__ = ["Headers", "Mount"]

Headers = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Mount:
    """A method, its entry in the ledger, the limits and the watch that its calls share."""

    method: Method
    entry: MethodLedger
    ledger: CallLedger
    watch: DisconnectWatch
    max_message_bytes: int

    def serialize(self, response: Message) -> bytes:
        """Return a response's bytes.

        Raises: MessageTooLarge beyond the limit.
        """
        message = serialized(response, self.entry)
        if len(message) > self.max_message_bytes:
            raise MessageTooLarge("sent", len(message), self.max_message_bytes)
        return message

    def failure(self, call: AsgiCall, error: BaseException) -> Status | None:
        """Return the status of a failed call, logged; None when nobody is left to tell."""
        if isinstance(error, asyncio.CancelledError):
            error = call.settle()
        if isinstance(error, PeerGone):
            return None
        status = failed_call(self.entry.path, call, error)
        return Status(status.code, status.message, (*call.trailing_metadata, *status.trailing_metadata))

    def refuse(self, call: AsgiCall, send: Send, error: Exception) -> None:
        """Answer a call that the ledger did not let in."""
        status = failed_call(self.entry.path, call, error)
        self.ledger.refuse(self.entry, status.code)
        send_status_only(send, status)
