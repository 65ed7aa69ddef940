"""One call on the envoy front, as its handler and its transport see it.

`AsgiCall` is the handler's context. It also owns why a call was cut short: the deadline's timer and the disconnect
watch both end a call through `cut`, which cancels the task that runs the handler and keeps the first reason.
"""

import asyncio
from time import monotonic
from typing import Any

from cuelight.server.errors import CuelightError, DeadlineExceeded
from cuelight.server.rpc.context import Metadata
from cuelight.server.rpc.wire import parse_metadata, parse_timeout_s

__all__ = ["AsgiCall", "PeerGone"]


_DEADLINE_PASSED = "the deadline passed before the call was answered"


class PeerGone(Exception):
    """The caller cancelled or its connection ended; nobody is left to answer."""


class AsgiCall:
    """`RpcContext` over an ASGI scope. Owned by the task that pyvoy runs the call in."""

    __slots__ = (
        "_deadline_s",
        "_receiving",
        "_scope",
        "_task",
        "_timer",
        "_waiter",
        "attachment",
        "cut_by",
        "receive",
        "trailing_metadata",
        "watched_in",
    )

    def __init__(self, scope: dict[str, Any], receive: Any) -> None:
        self._scope = scope
        self.receive = receive
        self.attachment: object = None
        self._receiving: asyncio.Future[Any] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline_s: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.cut_by: CuelightError | PeerGone | None = None
        self.trailing_metadata: Metadata = ()
        self.watched_in: dict[AsgiCall, None] = {}

    def metadata(self) -> Metadata:
        """Return the request metadata; see `RpcContext`."""
        return parse_metadata(self._scope["headers"])

    def deadline(self) -> float | None:
        """Return the deadline on the monotonic clock; see `RpcContext`."""
        return self._deadline_s

    def peer(self) -> str:
        """Return the caller's address; see `RpcContext`."""
        client = self._scope.get("client")
        if client is None:
            return "unix:"
        host, port = client
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Set the trailing metadata; see `RpcContext`."""
        self.trailing_metadata = tuple(metadata)

    def start_deadline(self, grpc_timeout: bytes) -> None:
        """Cut the call when its `grpc-timeout` is over. Must be called from the call's task.

        Raises: InvalidRequest when the timeout does not parse; DeadlineExceeded when it is already over.
        """
        timeout_s = parse_timeout_s(grpc_timeout)
        if timeout_s <= 0:
            raise DeadlineExceeded(_DEADLINE_PASSED)
        self.bind_task()
        self._deadline_s = monotonic() + timeout_s
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._deadline_passed)

    def check_deadline(self) -> None:
        """Raise DeadlineExceeded when the deadline has passed, though its timer may not have had its turn yet."""
        if self._deadline_s is not None and monotonic() >= self._deadline_s:
            raise DeadlineExceeded(_DEADLINE_PASSED)

    def bind_task(self) -> None:
        """Remember the running task as the one that `cut` cancels."""
        self._task = asyncio.current_task()

    def stop_deadline(self) -> None:
        """Forget the deadline's timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cut(self, reason: CuelightError | PeerGone) -> None:
        """Cancel the call's task; only the first reason counts."""
        if self.cut_by is None and self._task is not None:
            self.cut_by = reason
            self._task.cancel()

    def peer_gone(self) -> None:
        """Cut the call because nobody takes its answer any more."""
        self.cut(PeerGone())

    def settle(self) -> BaseException:
        """Return what a cancellation that reached the call's own task means, and let that task go on to answer."""
        if self.cut_by is None:
            return asyncio.CancelledError()
        if self._task is not None:
            self._task.uncancel()
        return self.cut_by

    async def next_event(self) -> dict[str, Any]:
        """Return the next piece of the request.

        Never awaits the transport's own future: pyvoy cannot bear it cancelled. When the caller is gone, the call is
        cut and this never returns.
        """
        receiving = self._receiving
        if receiving is None:
            receiving = self._begin_receive()
        if not receiving.done():
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._receiving = None
        event: dict[str, Any] = receiving.result()
        if event["type"] == "http.disconnect":
            self.cut(PeerGone())
            await asyncio.get_running_loop().create_future()
        return event

    def probe(self) -> None:
        """Ask the transport whether the caller is still there; what else it answers is kept for `next_event`."""
        if self._receiving is None:
            self._begin_receive()

    def _begin_receive(self) -> asyncio.Future[Any]:
        self._receiving = asyncio.ensure_future(self.receive())
        self._receiving.add_done_callback(self._received)
        return self._receiving

    def _received(self, receiving: asyncio.Future[Any]) -> None:
        if receiving is not self._receiving:
            return  # `next_event` found it done before this callback had its turn, and may wait for another already
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None
            return
        event = receiving.result()
        if event["type"] == "http.disconnect":
            self.cut(PeerGone())
        elif not event["body"] and not event["more_body"]:
            # The end of a request can be received any number of times.
            self._receiving = None

    def _deadline_passed(self) -> None:
        self.cut(DeadlineExceeded(_DEADLINE_PASSED))
