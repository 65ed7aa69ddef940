"""A service that the tests of both fronts call, built from well-known messages.

Its handlers run in another process than the tests, so what happens to them is told by further RPCs: a handler notes
happenings such as `cancelled:NAME`, and `Until` answers once one has been noted. Names keep the tests apart.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from cuelight.server import errors
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Cardinality, Method, Service

SERVICE = "probe.Probe"
UNARY, DOWN, UP, BOTH = (
    Cardinality.UNARY_UNARY,
    Cardinality.UNARY_STREAM,
    Cardinality.STREAM_UNARY,
    Cardinality.STREAM_STREAM,
)
METHODS: dict[str, tuple[Cardinality, type[Any], type[Any]]] = {
    "Echo": (UNARY, BytesValue, BytesValue),
    "Fail": (UNARY, StringValue, Empty),
    "FailAfter": (DOWN, Int64Value, Int64Value),
    "Describe": (UNARY, Empty, Struct),
    "DescribeStream": (DOWN, Empty, Struct),
    "Wait": (UNARY, StringValue, Empty),
    "WaitStream": (DOWN, StringValue, Int64Value),
    "Pour": (DOWN, StringValue, BytesValue),
    "Sip": (BOTH, BytesValue, StringValue),
    "Sum": (UP, Int64Value, Int64Value),
    "Chat": (BOTH, BytesValue, BytesValue),
    "LateAnswers": (BOTH, BytesValue, BytesValue),
    "Release": (UNARY, StringValue, Empty),
    "Until": (UNARY, StringValue, Empty),
    "Counted": (UNARY, StringValue, Int64Value),
    "InFlight": (UNARY, Empty, Int64Value),
}
WHILE_DRAINING = ("Release", "Until", "Counted", "InFlight")
POURED_BYTES = 64 * 1024


class Probe:
    """The handlers. Owned by the server's event loop."""

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger
        self._noted: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._counts: Counter[str] = Counter()

    def note(self, happening: str) -> None:
        """Let those go on who wait for the happening."""
        self._noted[happening].set()

    async def Echo(self, request: BytesValue, context: RpcContext) -> BytesValue:
        return request

    async def Fail(self, request: StringValue, context: RpcContext) -> Empty:
        """Raise the error named before the first colon with the message behind it."""
        name, _, message = request.value.partition(":")
        if name == "RuntimeError":
            raise RuntimeError(message)
        raise getattr(errors, name)(message)

    async def FailAfter(self, request: Int64Value, context: RpcContext) -> AsyncIterator[Int64Value]:
        """Answer 0 to n - 1, then fail."""
        for index in range(request.value):
            yield Int64Value(value=index)
        raise errors.NotFound("the rest is missing")

    async def Describe(self, request: Empty, context: RpcContext) -> Struct:
        """Return the context as the handler sees it, and echo `echo-` metadata among the trailers."""
        return self._described(context)

    async def DescribeStream(self, request: Empty, context: RpcContext) -> AsyncIterator[Struct]:
        yield self._described(context)

    def _described(self, context: RpcContext) -> Struct:
        context.set_trailing_metadata([pair for pair in context.metadata() if pair[0].startswith("echo-")])
        deadline = context.deadline()
        described = Struct()
        described["peer"] = context.peer()
        described["remaining_s"] = None if deadline is None else deadline - monotonic()
        described["metadata"] = [
            [key, value.hex() if isinstance(value, bytes) else value] for key, value in context.metadata()
        ]
        return described

    async def Wait(self, request: StringValue, context: RpcContext) -> Empty:
        """Wait until released; note how it ended."""
        await self._wait(request.value)
        return Empty()

    async def WaitStream(self, request: StringValue, context: RpcContext) -> AsyncIterator[Int64Value]:
        """Answer 1, wait until released, answer 2."""
        yield Int64Value(value=1)
        await self._wait(request.value)
        yield Int64Value(value=2)

    async def _wait(self, name: str) -> None:
        self.note(f"started:{name}")
        try:
            await self._released[name].wait()
        except asyncio.CancelledError:
            self.note(f"cancelled:{name}")
            raise

    async def Pour(self, request: StringValue, context: RpcContext) -> AsyncIterator[BytesValue]:
        """Answer for ever, as fast as the caller takes it, and count the messages."""
        try:
            while True:
                yield BytesValue(value=bytes(POURED_BYTES))
                self._counts[request.value] += 1
        finally:
            self.note(f"ended:{request.value}")

    async def Sip(self, requests: AsyncIterator[BytesValue], context: RpcContext) -> AsyncIterator[StringValue]:
        """Take one message, whose bytes are a name, then nothing until released, then the rest; answer the sizes."""
        first = await anext(requests)
        yield StringValue(value="first")
        await self._wait(first.value.decode())
        yield StringValue(value=str(sum([len(request.value) async for request in requests])))

    async def Sum(self, requests: AsyncIterator[Int64Value], context: RpcContext) -> Int64Value:
        return Int64Value(value=sum([request.value async for request in requests]))

    async def Chat(self, requests: AsyncIterator[BytesValue], context: RpcContext) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request

    async def LateAnswers(self, requests: AsyncIterator[BytesValue], context: RpcContext) -> AsyncIterator[BytesValue]:
        """Read to the caller's half-close, wait until released, then answer every message."""
        held = [request async for request in requests]
        await self._wait(held[0].value.decode())
        for request in held:
            yield request

    async def Release(self, request: StringValue, context: RpcContext) -> Empty:
        self._released[request.value].set()
        return Empty()

    async def Until(self, request: StringValue, context: RpcContext) -> Empty:
        """Return once the happening has been noted."""
        await self._noted[request.value].wait()
        return Empty()

    async def Counted(self, request: StringValue, context: RpcContext) -> Int64Value:
        return Int64Value(value=self._counts[request.value])

    async def InFlight(self, request: Empty, context: RpcContext) -> Int64Value:
        return Int64Value(value=self._ledger.in_flight)


class ProbeApplication:
    """What the fronts host in the tests."""

    def __init__(self, max_in_flight: int) -> None:
        self.ledger = CallLedger(max_in_flight)
        self._probe = probe = Probe(self.ledger)
        methods = [
            Method(name, *shape, getattr(probe, name), while_draining=name in WHILE_DRAINING)
            for name, shape in METHODS.items()
        ]
        self.services: tuple[Service, ...] = (Service(SERVICE, tuple(methods)),)

    async def start(self) -> None:
        """Nothing to load."""

    async def loaded(self) -> None:
        """Nothing to load."""

    async def failure(self) -> BaseException:
        """Never fail."""
        never: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        return await never

    async def drain(self) -> None:
        """Let the calls in flight end."""
        self._probe.note("draining")
        await self.ledger.drain()

    async def stop(self) -> None:
        """Nothing to free."""

    def describe(self) -> dict[str, Any]:
        """Return what is served."""
        return {"services": [service.name for service in self.services]}


def build(config_json: str) -> ProbeApplication:
    """Return an application; the configuration is how many calls may be in flight."""
    return ProbeApplication(int(config_json))


def build_broken(config_json: str) -> ProbeApplication:
    """Refuse to start."""
    raise errors.ConfigError(f"probe: cannot do {config_json}")
