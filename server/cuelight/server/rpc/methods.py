"""Services as data: one table of methods, which every front mounts in its own way.

A handler is one of four shapes, told apart by `Cardinality`:

    unary_unary     async def M(request, context) -> response
    unary_stream    async def M(request, context) -> AsyncIterator[response]      (an async generator)
    stream_unary    async def M(requests, context) -> response                    (requests: AsyncIterator)
    stream_stream   async def M(requests, context) -> AsyncIterator[response]     (an async generator)

Handlers raise `CuelightError`; anything else is an unexpected failure and reaches the caller as INTERNAL.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cuelight.server.rpc.context import RpcContext

__all__ = ["Cardinality", "Method", "Service", "Shortcut", "StreamShortcut", "service_from_descriptor"]


class Cardinality(Enum):
    """How many messages go each way."""

    UNARY_UNARY = (False, False)
    UNARY_STREAM = (False, True)
    STREAM_UNARY = (True, False)
    STREAM_STREAM = (True, True)

    @property
    def client_streams(self) -> bool:
        """Whether the caller sends any number of messages."""
        return self.value[0]

    @property
    def server_streams(self) -> bool:
        """Whether the handler answers with any number of messages."""
        return self.value[1]


class Shortcut(Protocol):
    """A faster way than the handler's for some messages of a method, from bytes to bytes.

    Only for methods that answer each request message with one response message, in order.
    """

    def answer(self, body: bytes) -> bytes | None:
        """Return the serialized response to a serialized request; None when the handler has to answer it."""
        ...

    def learn(self, body: bytes, request: Any) -> bool:
        """Look at a request that `answer` did not answer; return whether it would now."""
        ...


class StreamShortcut(Protocol):
    """As `Shortcut`, for one stream: made when the call comes, closed when it has ended, however it did.

    Fronts set `waiting` while they wait for a message, and read no further once `over` is true: whoever sets it may
    cancel the waiting task, which then goes on to the handler.
    """

    over: bool
    waiting: bool

    def answer(self, body: bytes) -> "bytes | Awaitable[bytes] | None":
        """Return the serialized response, or what will be it; None when the handler has to go on from here."""
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: its name, its message types and the handler behind it."""

    name: str
    cardinality: Cardinality
    request_type: type[Message]
    response_type: type[Message]
    handler: Callable[..., Any]
    while_draining: bool = False
    """Answered even while the server drains and beyond every limit: health, reflection."""
    shortcut: Shortcut | None = None
    stream_shortcut: "Callable[[RpcContext], AbstractContextManager[StreamShortcut]] | None" = None


@dataclass(frozen=True, slots=True)
class Service:
    """A fully qualified gRPC service name (`inference.GRPCInferenceService`) and its methods."""

    name: str
    methods: tuple[Method, ...]

    def paths(self) -> Iterator[tuple[str, Method]]:
        """Yield each method with its HTTP/2 path, `/package.Service/Method`."""
        for method in self.methods:
            yield f"/{self.name}/{method.name}", method


def service_from_descriptor(
    descriptor: ServiceDescriptor,
    servicer: object,
    while_draining: Collection[str] = (),
    left_out: Collection[str] = (),
) -> Service:
    """Build the table of a proto service from the servicer's methods of the same names.

    Methods that are `left_out` are UNIMPLEMENTED. Raises: AttributeError when the servicer lacks any other.
    """
    methods = tuple(
        Method(
            name=method.name,
            cardinality=Cardinality((method.client_streaming, method.server_streaming)),
            request_type=GetMessageClass(method.input_type),
            response_type=GetMessageClass(method.output_type),
            handler=getattr(servicer, method.name),
            while_draining=method.name in while_draining,
        )
        for method in descriptor.methods
        if method.name not in left_out
    )
    return Service(descriptor.full_name, methods)
