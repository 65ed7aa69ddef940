"""The way back of a call on the envoy front: messages, then a status in trailers.

pyvoy's `send` acts when it is called; what it returns tells when Envoy has taken the chunk, which it does only while
the caller's flow-control window lets it. `ResponseWriter` therefore keeps one chunk on its way at most. Messages
written meanwhile gather and leave together, and beyond a high-water mark the handler waits.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from cuelight.server.rpc.context import Metadata
from cuelight.server.rpc.status import Status, StatusCode
from cuelight.server.rpc.wire import status_headers

__all__ = [
    "GZIP_START",
    "OK_TRAILERS",
    "RESPONSE_START",
    "ResponseWriter",
    "Send",
    "accepts_gzip",
    "ok_trailers",
    "send_status_only",
]

Send = Callable[[dict[str, Any]], Any]

_CONTENT_TYPE = (b"content-type", b"application/grpc")
_ENCODINGS = (b"grpc-accept-encoding", b"identity,gzip")
_HIGH_WATER_BYTES = 256 * 1024
"""Enough that a fast caller is never idle, little enough that ten thousand slow ones fit into memory."""

RESPONSE_START = {"type": "http.response.start", "status": 200, "headers": [_CONTENT_TYPE], "trailers": True}
OK_TRAILERS = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")], "more_trailers": False}
GZIP_START = {**RESPONSE_START, "headers": [_CONTENT_TYPE, (b"grpc-encoding", b"gzip")]}


def accepts_gzip(headers: dict[bytes, bytes]) -> bool:
    """Whether the caller takes answers compressed with gzip."""
    return b"gzip" in [name.strip() for name in headers.get(b"grpc-accept-encoding", b"").split(b",")]


def ok_trailers(metadata: Metadata) -> dict[str, Any]:
    """Return the trailers of a call that succeeded."""
    return _trailers(Status(StatusCode.OK, "", metadata))


def _trailers(status: Status) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": status_headers(status), "more_trailers": False}


def send_status_only(send: Send, status: Status) -> None:
    """Answer with headers alone, which gRPC calls trailers-only."""
    headers = [_CONTENT_TYPE, *status_headers(status)]
    if status.code is StatusCode.UNIMPLEMENTED:
        headers.append(_ENCODINGS)
    send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    send({"type": "http.response.body", "body": b"", "more_body": False})


class ResponseWriter:
    """What one call answers. Owned by the call's task; `peer_gone` is called once when nobody takes it any more."""

    __slots__ = (
        "_chunks",
        "_held_bytes",
        "_in_flight",
        "_peer_gone",
        "_room",
        "_scheduled",
        "_send",
        "_started",
        "gzip",
    )

    def __init__(self, send: Send, peer_gone: Callable[[], None], gzip: bool) -> None:
        self._send = send
        self._peer_gone = peer_gone
        self._chunks: list[bytes] = []
        self._held_bytes = 0
        self._in_flight = False
        self._scheduled: asyncio.Handle | None = None
        self._started = False
        self._room: asyncio.Future[None] | None = None
        self.gzip = gzip

    def write(self, framed: bytes) -> bool:
        """Take a framed message; it leaves at the loop's next turn. Return whether the writer is full."""
        self._chunks.append(framed)
        self._held_bytes += len(framed)
        if self._scheduled is None and not self._in_flight:
            self._scheduled = asyncio.get_running_loop().call_soon(self._flush)
        return self._held_bytes >= _HIGH_WATER_BYTES

    async def room(self) -> None:
        """Wait until what is held has left."""
        if self._chunks:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def finish(self, status: Status | None) -> None:
        """Send what is held and the status; nothing at all when that is None, because the caller is gone."""
        if self._scheduled is not None:
            self._scheduled.cancel()
        if status is None:
            return
        if not self._started and not self._chunks:
            send_status_only(self._send, status)
            return
        self._start()
        self._send({"type": "http.response.body", "body": b"".join(self._chunks), "more_body": False})
        self._chunks.clear()
        self._send(_trailers(status))

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._send(GZIP_START if self.gzip else RESPONSE_START)

    def _flush(self) -> None:
        self._scheduled = None
        self._start()
        chunks, self._chunks, self._held_bytes = self._chunks, [], 0
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        sent = self._send({"type": "http.response.body", "body": body, "more_body": True})
        if isinstance(sent, asyncio.Future):
            self._in_flight = True
            sent.add_done_callback(self._sent)
        else:
            self._peer_gone()

    def _sent(self, sent: asyncio.Future[None]) -> None:
        self._in_flight = False
        if sent.cancelled() or sent.exception() is not None:
            self._peer_gone()
            return
        if self._chunks:
            self._flush()
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None
