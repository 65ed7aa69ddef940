"""Messages from bytes and to bytes, on either front: counted, and the caller's mistake where they do not parse."""

from collections.abc import Callable

from google.protobuf.message import DecodeError, Message

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.invalid_text import invalid_text
from cuelight.server.rpc.ledger import MethodLedger
from cuelight.server.rpc.methods import Method

__all__ = ["Parse", "parser_of", "serialized"]

Parse = Callable[[bytes], Message]


def parser_of(method: Method, entry: MethodLedger) -> Parse:
    """Return the parser of a method's requests; it raises InvalidRequest that names the type, or the text at fault."""
    from_string = method.request_type.FromString
    descriptor = method.request_type.DESCRIPTOR
    type_name = descriptor.full_name

    def parse(body: bytes) -> Message:
        entry.received_messages += 1
        entry.received_bytes += len(body)
        try:
            return from_string(body)
        except DecodeError as error:
            said = invalid_text(body, descriptor) or f"the {len(body)} bytes of the message do not parse as {type_name}"
            raise InvalidRequest(said) from error

    return parse


def serialized(response: Message, entry: MethodLedger) -> bytes:
    """Return the bytes of a message that is about to be sent."""
    body = response.SerializeToString()
    entry.sent_messages += 1
    entry.sent_bytes += len(body)
    return body
