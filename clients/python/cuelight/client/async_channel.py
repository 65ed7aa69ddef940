"""One connection for asyncio, otherwise as `cuelight.client.channel`: the same limits, deadlines, retries, errors."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from cuelight.client.attempts import Attempts
from cuelight.client.channel import MAX_MESSAGE_BYTES, Tls, channel_options, parser, serialize
from cuelight.client.errors import error_from
from cuelight.client.requests import AsyncRequests
from cuelight.client.retries import RetryPolicy

__all__ = ["AsyncChannel"]


class AsyncChannel:
    """A connection for the tasks of one event loop. Close it, or use it in an `async with` block.

    To be made where the loop runs. `timeout_s` is the deadline of a call that names none; None waits for ever.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: Tls | None = None,
        timeout_s: float | None = 60.0,
        retries: RetryPolicy | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._retries = retries if retries is not None else RetryPolicy()
        self._closed = asyncio.Event()
        options = channel_options(tls, max_message_bytes)
        if tls is None:
            self.grpc_channel = grpc.aio.insecure_channel(address, options)
        else:
            self.grpc_channel = grpc.aio.secure_channel(address, tls.credentials(), options)

    async def __aenter__(self) -> "AsyncChannel":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled and nothing is retried any more."""
        self._closed.set()
        await self.grpc_channel.close()

    async def call(self, path: str, request: Any, response_type: type, timeout_s: float | None = None) -> Any:
        """Make a unary call; as `Channel.call`."""
        method = self.grpc_channel.unary_unary(path, serialize, parser(response_type))
        attempts = Attempts(self._retries, self.timeout_s if timeout_s is None else timeout_s)
        return await self._answered(lambda: method(request, timeout=attempts.left_s()), attempts)

    async def send(
        self, path: str, requests: Sequence[Any], response_type: type, timeout_s: float | None = None
    ) -> Any:
        """Make a client-streaming call; as `Channel.send`."""
        method = self.grpc_channel.stream_unary(path, serialize, parser(response_type))
        attempts = Attempts(self._retries, self.timeout_s if timeout_s is None else timeout_s, streamed=True)
        return await self._answered(lambda: method(iter(requests), timeout=attempts.left_s()), attempts)

    async def follow(
        self, path: str, request: Any, response_type: type, timeout_s: float | None = None
    ) -> AsyncGenerator[Any, None]:
        """Make a server-streaming call and yield its responses; as `Channel.follow`."""
        method = self.grpc_channel.unary_stream(path, serialize, parser(response_type))
        attempts = Attempts(self._retries, timeout_s, streamed=True)
        while True:
            call = method(request, timeout=attempts.left_s())
            try:
                async for response in call:
                    attempts.progressed()
                    yield response
                return
            except grpc.RpcError as error:
                await self._wait_after(error, attempts)
            finally:
                call.cancel()

    async def stream(
        self, path: str, requests: AsyncIterator[Any], response_type: type, timeout_s: float | None = None
    ) -> AsyncGenerator[Any, None]:
        """Make a bidirectional call and yield its responses; as `Channel.stream`."""
        method = self.grpc_channel.stream_stream(path, serialize, parser(response_type))
        sent = AsyncRequests(requests)
        call = method(aiter(sent), timeout=timeout_s)
        try:
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise sent.error or error_from(error) from None
        except asyncio.CancelledError:
            if sent.error is None:
                raise
            raise sent.error from None  # grpcio cancels a call whose requests fail
        finally:
            call.cancel()

    async def _answered(self, attempt: Callable[[], Awaitable[Any]], attempts: Attempts) -> Any:
        while True:
            try:
                return await attempt()
            except grpc.RpcError as error:
                await self._wait_after(error, attempts)

    async def _wait_after(self, error: grpc.RpcError, attempts: Attempts) -> None:
        """Return when it is time for the next attempt, or raise what the last one means."""
        delay_s = attempts.delay_s(error)
        if delay_s is None or await self._closes_within(delay_s):
            raise error_from(error) from None

    async def _closes_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                return await self._closed.wait()
        except TimeoutError:
            return False
