"""One connection to a server: address, TLS, message limits, deadlines and retries."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import grpc

from cuelight.client.attempts import Attempts
from cuelight.client.errors import error_from
from cuelight.client.requests import Requests
from cuelight.client.retries import RetryPolicy

__all__ = ["MAX_MESSAGE_BYTES", "Channel", "Tls", "channel_options", "parser", "serialize"]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""The server's own default; both sides of a call are bounded by it."""

_KEEPALIVE_MS = 30_000
_RECONNECT_MS = (100, 2_000)
"""The shortest and the longest pause between attempts to connect: a server that restarts is found again at once."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Encrypt the connection. Paths of PEM files; without `ca_file` the system's authorities are trusted.

    `certificate_file` and `private_key_file` identify the client to a server that asks for it; `server_name` is
    expected in the server's certificate in place of the address.
    """

    ca_file: str | Path | None = None
    certificate_file: str | Path | None = None
    private_key_file: str | Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Return grpcio's credentials; raises OSError for a file that cannot be read."""
        files = (self.ca_file, self.private_key_file, self.certificate_file)
        return grpc.ssl_channel_credentials(*(None if file is None else Path(file).read_bytes() for file in files))


class Channel:
    """A connection that may be used from many threads. Close it, or use it in a `with` block.

    `timeout_s` is the deadline of a unary call that names none; None waits for ever.
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
        self._closed = Event()
        options = channel_options(tls, max_message_bytes)
        if tls is None:
            self.grpc_channel = grpc.insecure_channel(address, options)
        else:
            self.grpc_channel = grpc.secure_channel(address, tls.credentials(), options)

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled and nothing is retried any more."""
        self._closed.set()
        self.grpc_channel.close()

    def wait_connected(self, timeout_s: float) -> bool:
        """Connect, and return whether the server has answered within `timeout_s`; calls need not wait for it."""
        try:
            grpc.channel_ready_future(self.grpc_channel).result(timeout_s)
        except grpc.FutureTimeoutError:
            return False
        return True

    def call(self, path: str, request: Any, response_type: type, timeout_s: float | None = None) -> Any:
        """Make a unary call, again where that may help, and return the response.

        Raises: CuelightClientError of the kind that the last attempt failed with.
        """
        method = self.grpc_channel.unary_unary(
            path, request_serializer=serialize, response_deserializer=parser(response_type)
        )
        attempts = Attempts(self._retries, self.timeout_s if timeout_s is None else timeout_s)
        return self._answered(lambda: method(request, timeout=attempts.left_s()), attempts)

    def send(self, path: str, requests: Sequence[Any], response_type: type, timeout_s: float | None = None) -> Any:
        """Make a client-streaming call, again where that may help, and return the one response.

        All of `requests` are sent again, so sending them twice must do no harm.

        Raises: CuelightClientError of the kind that the last attempt failed with.
        """
        method = self.grpc_channel.stream_unary(
            path, request_serializer=serialize, response_deserializer=parser(response_type)
        )
        attempts = Attempts(self._retries, self.timeout_s if timeout_s is None else timeout_s, streamed=True)
        return self._answered(lambda: method(iter(requests), timeout=attempts.left_s()), attempts)

    def follow(
        self, path: str, request: Any, response_type: type, timeout_s: float | None = None
    ) -> Generator[Any, None, None]:
        """Make a server-streaming call and yield its responses, for ever where `timeout_s` is None.

        Leaving the iteration cancels the call. One that breaks is made again where that may help: what the server tells
        first, it tells again then.

        Raises: CuelightClientError of the kind that the last attempt failed with.
        """
        method = self.grpc_channel.unary_stream(
            path, request_serializer=serialize, response_deserializer=parser(response_type)
        )
        attempts = Attempts(self._retries, timeout_s, streamed=True)
        while True:
            call = method(request, timeout=attempts.left_s())
            try:
                for response in call:
                    attempts.progressed()
                    yield response
                return
            except grpc.RpcError as error:
                self._wait_after(error, attempts)
            finally:
                call.cancel()

    def stream(
        self, path: str, requests: Iterable[Any], response_type: type, timeout_s: float | None = None
    ) -> Iterator[Any]:
        """Make a bidirectional call and yield its responses; leaving the iteration cancels the call.

        Not retried: what a server has already taken in cannot be known here.

        Raises: CuelightClientError of the kind that the call failed with, or what `requests` raised.
        """
        sent = Requests(requests)
        call = self.open_stream(path, sent, response_type, timeout_s)
        try:
            yield from call
        except grpc.RpcError as error:
            raise sent.error or error_from(error) from None
        finally:
            call.cancel()

    def open_stream(
        self, path: str, requests: Iterable[Any], response_type: type, timeout_s: float | None = None
    ) -> Any:
        """Make a bidirectional call and return grpcio's call object, an iterator of responses that has `cancel`."""
        method = self.grpc_channel.stream_stream(
            path, request_serializer=serialize, response_deserializer=parser(response_type)
        )
        return method(iter(requests), timeout=timeout_s)

    def _answered(self, attempt: Callable[[], Any], attempts: Attempts) -> Any:
        while True:
            try:
                return attempt()
            except grpc.RpcError as error:
                self._wait_after(error, attempts)

    def _wait_after(self, error: grpc.RpcError, attempts: Attempts) -> None:
        """Return when it is time for the next attempt, or raise what the last one means."""
        delay_s = attempts.delay_s(error)
        if delay_s is None or self._closed.wait(delay_s):
            raise error_from(error) from None


def channel_options(tls: Tls | None, max_message_bytes: int) -> list[tuple[str, Any]]:
    """Return grpcio's options for a connection, of either of its parts."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS[0]),
        ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS[0]),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS[1]),
        # Retries are made here, where they can be bounded by the caller's deadline and seen by tests.
        ("grpc.enable_retries", 0),
    ]
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def serialize(message: Any) -> bytes:
    """Return a message as it is sent."""
    data: bytes = message.SerializeToString()
    return data


def parser(response_type: Any) -> Callable[[bytes], Any]:
    """Return what makes a message out of bytes."""
    parse: Callable[[bytes], Any] = response_type.FromString
    return parse
