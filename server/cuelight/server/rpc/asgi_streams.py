"""Streamed calls on the envoy front: many messages one way or both.

Request messages are handed over as the handler asks for them, all those of one body chunk without a turn of the loop.
Response messages gather in the `ResponseWriter`; when it is full the handler is not asked for more.
"""

from asyncio import CancelledError, current_task
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import nullcontext
from typing import Any

from google.protobuf.message import Message

from cuelight.server.errors import CuelightError
from cuelight.server.rpc.asgi_call import AsgiCall
from cuelight.server.rpc.asgi_mount import Headers, Mount
from cuelight.server.rpc.asgi_requests import RequestStream, read_one
from cuelight.server.rpc.asgi_response import ResponseWriter, Send, accepts_gzip
from cuelight.server.rpc.framing import frame, gzip_frame
from cuelight.server.rpc.methods import StreamShortcut
from cuelight.server.rpc.parsing import parser_of
from cuelight.server.rpc.status import Status, StatusCode

__all__ = ["streamed_call"]


def streamed_call(mount: Mount) -> Callable[[AsgiCall, Headers, Send], Coroutine[Any, Any, None]]:
    """Return the coroutine function that serves calls of a method with a stream in either direction."""
    ledger, entry = mount.ledger, mount.entry
    parse = parser_of(mount.method, mount.entry)
    answer = _answer_many if mount.method.cardinality.server_streams else _answer_one

    async def serve(call: AsgiCall, headers: Headers, send: Send) -> None:
        try:
            started_s = ledger.open(entry)
        except CuelightError as error:
            mount.refuse(call, send, error)
            return
        status: Status | None = None
        gzip = headers.get(b"grpc-encoding") == b"gzip" and accepts_gzip(headers)
        writer = ResponseWriter(send, call.peer_gone, gzip)
        call.bind_task()
        mount.watch.add(call)
        try:
            if (timeout := headers.get(b"grpc-timeout")) is not None:
                call.start_deadline(timeout)
            await answer(mount, call, RequestStream(call, parse, headers, mount.max_message_bytes), writer)
            status = Status(StatusCode.OK, "", call.trailing_metadata)
        except (CancelledError, Exception) as error:
            status = mount.failure(call, error)
        finally:
            mount.watch.remove(call)
            call.stop_deadline()
            writer.finish(status)
            ledger.close(entry, started_s, StatusCode.CANCELLED if status is None else status.code)

    return serve


async def _answer_one(mount: Mount, call: AsgiCall, requests: RequestStream, writer: ResponseWriter) -> None:
    response = await mount.method.handler(requests, call)
    await _write(mount, response, requests, writer)


async def _answer_many(mount: Mount, call: AsgiCall, requests: RequestStream, writer: ResponseWriter) -> None:
    open_shortcut = mount.method.stream_shortcut
    with nullcontext() if open_shortcut is None else open_shortcut(call) as shortcut:
        if shortcut is not None:
            await _answer_shortly(mount, shortcut, requests, writer)
        argument = requests if mount.method.cardinality.client_streams else await read_one(requests)
        responses: AsyncGenerator[Message] = mount.method.handler(argument, call)
        try:
            async for response in responses:
                await _write(mount, response, requests, writer)
        finally:
            await responses.aclose()


async def _answer_shortly(
    mount: Mount, shortcut: StreamShortcut, requests: RequestStream, writer: ResponseWriter
) -> None:
    """Answer messages for as long as the shortcut can; the first one that it cannot is left to the handler."""
    try:
        while not shortcut.over:
            shortcut.waiting = True
            body = await requests.next_body()
            shortcut.waiting = False
            answer = None if requests.was_compressed else shortcut.answer(body)
            if answer is None:
                requests.put_back(body)
                return
            if not isinstance(answer, bytes):
                answer = await answer
            mount.entry.count(body, answer)
            if writer.write(frame(answer)):
                await writer.room()
    except StopAsyncIteration:
        return
    except CancelledError:
        task = current_task()
        if not shortcut.over or task is None:
            raise
        task.uncancel()
    finally:
        shortcut.waiting = False


async def _write(mount: Mount, response: Message, requests: RequestStream, writer: ResponseWriter) -> None:
    message = mount.serialize(response)
    compressed = requests.was_compressed and writer.gzip
    if writer.write(await gzip_frame(message) if compressed else frame(message)):
        await writer.room()
