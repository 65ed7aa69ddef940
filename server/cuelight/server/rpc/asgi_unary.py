"""Unary calls on the envoy front.

A call whose handler never suspends is the case to be fast in: one `receive`, one step of the handler's coroutine and
three sends that only hand over; no task, timer or future of its own. Only when that first step suspends is the call
watched for a caller who leaves, and the rest of the coroutine is awaited from where it stands.
"""

from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from google.protobuf.message import Message

from cuelight.server.errors import CuelightError
from cuelight.server.rpc.asgi_call import AsgiCall
from cuelight.server.rpc.asgi_mount import Headers, Mount
from cuelight.server.rpc.asgi_requests import RequestStream, read_one
from cuelight.server.rpc.asgi_response import (
    GZIP_START,
    OK_TRAILERS,
    RESPONSE_START,
    Send,
    accepts_gzip,
    ok_trailers,
    send_status_only,
)
from cuelight.server.rpc.framing import PREFIX_BYTES, frame, gzip_frame
from cuelight.server.rpc.methods import Shortcut
from cuelight.server.rpc.parsing import Parse, parser_of
from cuelight.server.rpc.status import StatusCode

__all__ = ["unary_call"]


def unary_call(mount: Mount) -> Callable[[AsgiCall, Headers, Send], Coroutine[Any, Any, None]]:
    """Return the coroutine function that serves calls of a unary method."""
    ledger, entry, limit = mount.ledger, mount.entry, mount.max_message_bytes
    handler: Callable[[Message, AsgiCall], Coroutine[Any, Any, Message]] = mount.method.handler
    parse = parser_of(mount.method, mount.entry)
    shortcut = mount.method.shortcut
    parsed = parse if shortcut is None else _learning(parse, shortcut)

    async def serve(call: AsgiCall, headers: Headers, send: Send) -> None:
        try:
            started_s = ledger.open(entry)
        except CuelightError as error:
            mount.refuse(call, send, error)
            return
        code = StatusCode.CANCELLED
        try:
            if (timeout := headers.get(b"grpc-timeout")) is not None:
                call.start_deadline(timeout)
            event = await (call.receive() if timeout is None else call.next_event())
            body = event.get("body")
            if body is None:
                return
            size = len(body) - PREFIX_BYTES
            compressed = False
            if size < 0 or event["more_body"] or body[0] or int.from_bytes(body[1:5]) != size or size > limit:
                requests = RequestStream(call, parse, headers, limit, event)
                request = await read_one(requests)
                compressed = requests.was_compressed and accepts_gzip(headers)
            else:
                body = body[PREFIX_BYTES:]
                if shortcut is not None and (answer := shortcut.answer(body)) is not None:
                    entry.count(body, answer)
                    _send_ok(send, RESPONSE_START, frame(answer), OK_TRAILERS)
                    code = StatusCode.OK
                    return
                request = parsed(body)
            if timeout is not None:
                call.check_deadline()
            step = handler(request, call)
            try:
                waiting_for = step.send(None)
            except StopIteration as finished:
                response = finished.value
            else:
                response = await _suspended(mount, call, step, waiting_for)
            message = mount.serialize(response)
            framed = await gzip_frame(message) if compressed else frame(message)
            trailers = ok_trailers(call.trailing_metadata) if call.trailing_metadata else OK_TRAILERS
            _send_ok(send, GZIP_START if compressed else RESPONSE_START, framed, trailers)
            code = StatusCode.OK
        except (CancelledError, Exception) as error:
            status = mount.failure(call, error)
            if status is not None:
                code = status.code
                send_status_only(send, status)
        finally:
            call.stop_deadline()
            ledger.close(entry, started_s, code)

    return serve


def _learning(parse: Parse, shortcut: Shortcut) -> Parse:
    """Return a parser that shows each request to the method's shortcut."""

    def parsed(body: bytes) -> Message:
        request = parse(body)
        shortcut.learn(body, request)
        return request

    return parsed


def _send_ok(send: Send, start: dict[str, Any], framed: bytes, trailers: dict[str, Any]) -> None:
    send(start)
    send({"type": "http.response.body", "body": framed, "more_body": False})
    send(trailers)


async def _suspended(mount: Mount, call: AsgiCall, step: Coroutine[Any, Any, Message], waiting_for: Any) -> Message:
    call.bind_task()
    mount.watch.add(call)
    try:
        return await _rest_of(step, waiting_for)
    finally:
        mount.watch.remove(call)


@coroutine
def _rest_of(step: Coroutine[Any, Any, Message], waiting_for: Any) -> Generator[Any, Any, Message]:
    """Go on with a coroutine whose first step has been taken, as `await` would have from the start."""
    try:
        while True:
            try:
                result = yield waiting_for
            except BaseException as error:
                waiting_for = step.throw(error)
            else:
                waiting_for = step.send(result)
    except StopIteration as finished:
        response: Message = finished.value
        return response
