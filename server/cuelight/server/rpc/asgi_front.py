"""The ASGI side of the envoy front: finds the method behind an HTTP request.

Requests that are not gRPC are answered in HTTP; a method that is not in the tables is UNIMPLEMENTED.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from cuelight.server.errors import Unsupported
from cuelight.server.rpc.asgi_call import AsgiCall
from cuelight.server.rpc.asgi_mount import Headers, Mount
from cuelight.server.rpc.asgi_response import Send, send_status_only
from cuelight.server.rpc.asgi_streams import streamed_call
from cuelight.server.rpc.asgi_unary import unary_call
from cuelight.server.rpc.disconnects import DisconnectWatch
from cuelight.server.rpc.failures import failed_call
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Cardinality, Service
from cuelight.server.rpc.wire import is_grpc_content_type

__all__ = ["AsgiFront"]

_METHOD_NOT_ALLOWED = 405
_UNSUPPORTED_MEDIA_TYPE = 415


class AsgiFront:
    """An ASGI application over method tables. Owned by the event loop that runs it."""

    def __init__(self, services: Iterable[Service], ledger: CallLedger, max_message_bytes: int) -> None:
        watch = DisconnectWatch()
        self._calls: dict[str, Callable[[AsgiCall, Headers, Send], Coroutine[Any, Any, None]]] = {}
        for service in services:
            for path, method in service.paths():
                entry = ledger.register(path, method.while_draining)
                mount = Mount(method, entry, ledger, watch, max_message_bytes)
                unary = method.cardinality is Cardinality.UNARY_UNARY
                self._calls[path] = unary_call(mount) if unary else streamed_call(mount)

    def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send
    ) -> Coroutine[Any, Any, None]:
        """Serve one HTTP request."""
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"")
        if content_type != b"application/grpc" and not is_grpc_content_type(content_type):
            return _answer_http(send, _UNSUPPORTED_MEDIA_TYPE, b"expected content-type application/grpc\n")
        if scope["method"] != "POST":
            return _answer_http(send, _METHOD_NOT_ALLOWED, b"expected POST\n")
        call = AsgiCall(scope, receive)
        serve = self._calls.get(scope["path"])
        return _unknown_method(scope["path"], call, send) if serve is None else serve(call, headers, send)


async def _unknown_method(path: str, call: AsgiCall, send: Send) -> None:
    send_status_only(send, failed_call(path, call, Unsupported(f"no such method: {path}")))


async def _answer_http(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    send({"type": "http.response.start", "status": status, "headers": headers})
    send({"type": "http.response.body", "body": text, "more_body": False})
