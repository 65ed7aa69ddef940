"""The grpcio front: mounts method tables on `grpc.aio`. Runs wherever grpcio does.

Messages are parsed and serialized here rather than by grpcio, so that a message that does not parse is
INVALID_ARGUMENT with the name of its type, and so that no extra call stands between the wire and the handler.

What a failed call held is let go before it is aborted: grpcio keeps the error that `abort` raises, whose traceback has
the frame that called it, which has grpcio's context. Only the garbage collector frees such a circle, and it comes by
counting objects, not bytes: a few calls whose messages are large would fill the memory before.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack
from typing import Any

import grpc
from google.protobuf.message import Message

from cuelight.server.errors import ConfigError, Unsupported
from cuelight.server.rpc.context import Metadata
from cuelight.server.rpc.failures import failed_call
from cuelight.server.rpc.front_config import FrontConfig, port_taken
from cuelight.server.rpc.ledger import CallLedger, MethodLedger
from cuelight.server.rpc.methods import Cardinality, Method, Service, StreamShortcut
from cuelight.server.rpc.parsing import Parse, parser_of, serialized
from cuelight.server.rpc.status import Status, StatusCode

__all__ = ["GrpcioContext", "GrpcioFront"]

_MAX_PENDING_CALLS = 1_000_000
_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcioContext:
    """`RpcContext` over grpcio's `ServicerContext`."""

    __slots__ = ("_context", "attachment", "trailing_metadata")

    def __init__(self, context: Any) -> None:
        self._context = context
        self.attachment: object = None
        self.trailing_metadata: Metadata = ()

    def metadata(self) -> Metadata:
        """Return the request metadata; see `RpcContext`."""
        return tuple((key, value) for key, value in self._context.invocation_metadata() or ())

    def deadline(self) -> float | None:
        """Return the deadline on the monotonic clock; see `RpcContext`."""
        remaining = self._context.time_remaining()
        return None if remaining is None else time.monotonic() + remaining

    def peer(self) -> str:
        """Return the caller's address; see `RpcContext`."""
        return str(self._context.peer())

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Set the trailing metadata; see `RpcContext`."""
        self.trailing_metadata = tuple(metadata)
        self._context.set_trailing_metadata(self.trailing_metadata)


class GrpcioFront:
    """A `grpc.aio` server over method tables. Owned by the event loop it is started on."""

    def __init__(self, config: FrontConfig, services: Iterable[Service], ledger: CallLedger) -> None:
        self._config = config
        self._services = tuple(services)
        self._ledger = ledger
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Bind the port and serve.

        Raises: ConfigError when the address cannot be bound, which names it.
        """
        server = grpc.aio.server(options=_channel_options(self._config.max_message_bytes))
        services = [self._generic_handler(service) for service in self._services]
        server.add_generic_rpc_handlers((*services, _UnknownMethods()))
        try:
            self.port = self._bind(server, self._config.address)
        except RuntimeError as error:
            raise ConfigError(port_taken(self._config)) from error
        await server.start()
        self._server = server

    async def stop(self, grace_s: float) -> None:
        """Stop listening and give calls in flight `grace_s` seconds, then cancel them."""
        if self._server is not None:
            await self._server.stop(grace_s)

    def _bind(self, server: grpc.aio.Server, address: str) -> int:
        tls = self._config.tls
        if tls is None:
            return server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials(
            [(tls.private_key(), tls.certificate_chain())], tls.client_ca(), tls.client_ca() is not None
        )
        return server.add_secure_port(address, credentials)

    def _generic_handler(self, service: Service) -> grpc.GenericRpcHandler:
        handlers = {}
        for path, method in service.paths():
            entry = self._ledger.register(path, method.while_draining)
            factory, call = _CALLS[method.cardinality]
            handlers[method.name] = factory(call(method, entry, self._ledger))
        return grpc.method_handlers_generic_handler(service.name, handlers)


class _UnknownMethods(grpc.GenericRpcHandler):
    """Comes after all services and answers whatever is left, naming it as grpcio itself would not."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """Return a handler that refuses the call before it reads a message."""
        error = Unsupported(f"no such method: {handler_call_details.method}")

        async def refuse(requests: Any, servicer_context: Any) -> None:
            context = GrpcioContext(servicer_context)
            await _abort(servicer_context, context, failed_call(handler_call_details.method, context, error))

        return grpc.stream_stream_rpc_method_handler(refuse)


def _channel_options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),
        # Idle clients behind NATs ping often; answering them with GOAWAY too_many_pings cuts live streams.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        # Calls that came and were not looked at yet. Beyond 1,000 gRPC cancels some at random, without a word of why:
        # after a restart all players come at once. The ledger refuses what is too much, and says when to come back.
        ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING_CALLS),
    ]


_AioCall = Callable[[Any, Any], Any]
_Failure = Status | None


def _response_of_one(takes_stream: bool) -> Callable[[Method, MethodLedger, CallLedger], _AioCall]:
    def build(method: Method, entry: MethodLedger, ledger: CallLedger) -> _AioCall:
        parse = parser_of(method, entry)
        handler: Callable[..., Awaitable[Message]] = method.handler
        shortcut = None if takes_stream else method.shortcut

        async def call(body: Any, servicer_context: Any) -> bytes:
            context = GrpcioContext(servicer_context)
            request = None
            try:
                started = ledger.open(entry)
            except Exception as error:
                body = None
                return await _refuse(entry, context, servicer_context, ledger, error)
            code = StatusCode.OK
            try:
                if shortcut is not None and (answer := shortcut.answer(body)) is not None:
                    entry.count(body, answer)
                    return answer
                request = _parsed(body, parse) if takes_stream else parse(body)
                if shortcut is not None:
                    shortcut.learn(body, request)
                return serialized(await handler(request, context), entry)
            except asyncio.CancelledError:
                code = StatusCode.CANCELLED
                raise
            except Exception as error:
                status = failed_call(entry.path, context, error)
                code = status.code
            finally:
                ledger.close(entry, started, code)
            # Here, for the error refers to the frames of the handler.
            body = request = None
            return await _abort(servicer_context, context, status)

        return call

    return build


def _response_of_many(takes_stream: bool) -> Callable[[Method, MethodLedger, CallLedger], _AioCall]:
    def build(method: Method, entry: MethodLedger, ledger: CallLedger) -> _AioCall:
        parse = parser_of(method, entry)
        handler: Callable[..., AsyncIterator[Message]] = method.handler
        open_shortcut = method.stream_shortcut

        async def call(body: Any, servicer_context: Any) -> None:
            context = GrpcioContext(servicer_context)
            try:
                started = ledger.open(entry)
            except Exception as error:
                body = None
                await _refuse(entry, context, servicer_context, ledger, error)
                return
            status = await answered(body, context, started, servicer_context.write)
            if status is not None:
                body = None
                await _abort(servicer_context, context, status)

        async def answered(
            body: Any, context: GrpcioContext, started: float, write: Callable[[bytes], Any]
        ) -> _Failure:
            code = StatusCode.OK
            responses: AsyncIterator[Message] | None = None
            shortcuts = ExitStack()
            try:
                if not takes_stream:
                    responses = handler(parse(body), context)
                elif open_shortcut is None:
                    responses = handler(_parsed(body, parse), context)
                else:
                    shortcut = shortcuts.enter_context(open_shortcut(context))
                    first = await _answered_shortly(shortcut, entry, body, write)
                    responses = handler(_parsed(body, parse, first), context)
                async for response in responses:
                    await write(serialized(response, entry))
            except asyncio.CancelledError:
                code = StatusCode.CANCELLED
                raise
            except Exception as error:
                status = failed_call(entry.path, context, error)
                code = status.code
                return status
            finally:
                if responses is not None:
                    await responses.aclose()  # type: ignore[attr-defined]
                shortcuts.close()
                ledger.close(entry, started, code)
            return None

        return call

    return build


async def _refuse(
    entry: MethodLedger, context: GrpcioContext, servicer_context: Any, ledger: CallLedger, error: Exception
) -> bytes:
    status = failed_call(entry.path, context, error)
    ledger.refuse(entry, status.code)
    return await _abort(servicer_context, context, status)


async def _abort(servicer_context: Any, context: GrpcioContext, status: Status) -> bytes:
    trailing_metadata = (*context.trailing_metadata, *status.trailing_metadata)
    await servicer_context.abort(_GRPC_CODES[status.code], status.message, trailing_metadata)
    return b""  # never reached: abort raises


async def _answered_shortly(
    shortcut: StreamShortcut, entry: MethodLedger, bodies: AsyncIterator[bytes], write: Callable[[bytes], Any]
) -> bytes | None:
    """Answer messages for as long as the shortcut can; return the first one that is left to the handler."""
    try:
        shortcut.waiting = True
        async for body in bodies:
            shortcut.waiting = False
            answer = shortcut.answer(body)
            if answer is None:
                return body
            if not isinstance(answer, bytes):
                answer = await answer
            entry.count(body, answer)
            await write(answer)
            if shortcut.over:
                return None
            shortcut.waiting = True
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not shortcut.over or task is None:
            raise
        task.uncancel()
    finally:
        shortcut.waiting = False
    return None


async def _parsed(bodies: AsyncIterator[bytes], parse: Parse, first: bytes | None = None) -> AsyncIterator[Message]:
    if first is not None:
        yield parse(first)
    async for body in bodies:
        yield parse(body)


_CALLS: dict[Cardinality, tuple[Callable[[_AioCall], Any], Callable[[Method, MethodLedger, CallLedger], _AioCall]]] = {
    Cardinality.UNARY_UNARY: (grpc.unary_unary_rpc_method_handler, _response_of_one(takes_stream=False)),
    Cardinality.UNARY_STREAM: (grpc.unary_stream_rpc_method_handler, _response_of_many(takes_stream=False)),
    Cardinality.STREAM_UNARY: (grpc.stream_unary_rpc_method_handler, _response_of_one(takes_stream=True)),
    Cardinality.STREAM_STREAM: (grpc.stream_stream_rpc_method_handler, _response_of_many(takes_stream=True)),
}
