"""Messages that do not parse are the caller's mistake, on either front."""

from collections.abc import Callable

from google.protobuf.message import DecodeError, Message

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.methods import Method

__all__ = ["Parse", "parser_of"]

Parse = Callable[[bytes], Message]


def parser_of(method: Method) -> Parse:
    """Return the parser of a method's requests; it raises InvalidRequest that names the type."""
    from_string = method.request_type.FromString
    type_name = method.request_type.DESCRIPTOR.full_name

    def parse(body: bytes) -> Message:
        try:
            return from_string(body)
        except DecodeError as error:
            raise InvalidRequest(f"the {len(body)} bytes of the message do not parse as {type_name}") from error

    return parse
