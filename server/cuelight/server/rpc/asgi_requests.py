"""The messages of a call on the envoy front, as its handler takes them."""

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message

from cuelight.server.errors import CuelightError, InvalidRequest
from cuelight.server.rpc.asgi_call import AsgiCall
from cuelight.server.rpc.framing import Frame, FrameDecoder, inflated
from cuelight.server.rpc.parsing import Parse

__all__ = ["RequestStream", "read_one"]


class RequestStream(AsyncIterator[Message]):
    """The request messages of one call, read from the transport only as the handler asks for them."""

    __slots__ = (
        "_call",
        "_decoder",
        "_encoding",
        "_ended",
        "_failure",
        "_max_message_bytes",
        "_parse",
        "_ready",
        "was_compressed",
    )

    def __init__(
        self,
        call: AsgiCall,
        parse: Parse,
        headers: dict[bytes, bytes],
        max_message_bytes: int,
        first_event: dict[str, Any] | None = None,
    ) -> None:
        self._call = call
        self._parse = parse
        self._encoding = headers.get(b"grpc-encoding", b"identity").decode("latin-1")
        self._max_message_bytes = max_message_bytes
        self._decoder = FrameDecoder(max_message_bytes)
        self._ready: deque[Frame] = deque()
        self._ended = False
        self._failure: CuelightError | None = None
        self.was_compressed = False
        if first_event is not None:
            self._take(first_event)

    async def __anext__(self) -> Message:
        return self._parse(await self.next_body())

    def put_back(self, body: bytes) -> None:
        """Make `body` the next message again."""
        self._ready.appendleft((False, body))

    async def next_body(self) -> bytes:
        """Return the next message as bytes, decompressed.

        Raises: StopAsyncIteration after the last one.
        """
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                self._decoder.finish()
                raise StopAsyncIteration
            self._take(await self._call.next_event())
        compressed, body = self._ready.popleft()
        if compressed:
            self.was_compressed = True
            body = await inflated(body, self._encoding, self._max_message_bytes)
        return body

    def _take(self, event: dict[str, Any]) -> None:
        """Take a piece of the request that came from the transport.

        What is wrong with it is raised only after the messages before it were handed on.
        """
        try:
            self._ready.extend(self._decoder.feed(event["body"]))
        except CuelightError as error:
            self._failure = error
        self._ended = not event["more_body"]


async def read_one(requests: RequestStream) -> Message:
    """Return the one message of a call that takes one.

    Raises: InvalidRequest when none or more than one comes.
    """
    try:
        request = await anext(requests)
    except StopAsyncIteration:
        raise InvalidRequest("expected one request message, got none") from None
    try:
        await anext(requests)
    except StopAsyncIteration:
        return request
    raise InvalidRequest("expected one request message, got more")
