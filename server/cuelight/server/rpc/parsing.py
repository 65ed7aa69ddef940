"""Messages from bytes and to bytes, on either front: counted, and the caller's mistake where they do not parse."""

from collections.abc import Callable

from google.protobuf.message import DecodeError, Message

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.ledger import MethodLedger
from cuelight.server.rpc.methods import Method

__all__ = ["Parse", "parser_of", "serialized"]

Parse = Callable[[bytes], Message]


def parser_of(method: Method, entry: MethodLedger) -> Parse:
    """Return the parser of a method's requests; it raises InvalidRequest that names the type."""
    from_string = method.request_type.FromString
    type_name = method.request_type.DESCRIPTOR.full_name

    def parse(body: bytes) -> Message:
        entry.received_messages += 1
        entry.received_bytes += len(body)
        try:
            return from_string(body)
        except DecodeError as error:
            raise InvalidRequest(f"the {len(body)} bytes of the message do not parse as {type_name}") from error

    return parse


def serialized(response: Message, entry: MethodLedger) -> bytes:
    """Return the bytes of a message that is about to be sent."""
    body = response.SerializeToString()
    entry.sent_messages += 1
    entry.sent_bytes += len(body)
    return body
