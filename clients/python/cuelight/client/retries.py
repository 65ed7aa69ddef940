"""When to try a call again, and after how long: rules without a clock.

Source: gRFC A6 (client retries): exponential backoff with jitter; `grpc-retry-pushback-ms` from the server takes the
place of the next backoff, and a negative or unreadable value forbids the retry.
"""

from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

__all__ = ["RetryPolicy", "code_of", "details_of", "is_broken", "pushback_of", "trailing_value"]

_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_BROKEN_TEXTS = ("RST_STREAM", "Stream removed", "Connection reset", "Socket closed", "Internal error from Core")
"""grpcio reports a connection that breaks in the middle as INTERNAL or UNKNOWN, depending on where it breaks; on
asyncio, while a message is being sent, in the last of these words."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently to try. Backoffs are in seconds; `max_attempts` 1 never retries."""

    max_attempts: int = 4
    initial_backoff_s: float = 0.05
    max_backoff_s: float = 2.0
    multiplier: float = 2.0
    codes: tuple[grpc.StatusCode, ...] = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, got {self.max_attempts}")
        if self.initial_backoff_s < 0 or self.max_backoff_s < 0 or self.multiplier < 1:
            raise ValueError("backoffs must be 0 or more and the multiplier at least 1")

    def delay_s(
        self, attempt: int, code: grpc.StatusCode, pushback_ms: str | None, remaining_s: float | None, jitter: float
    ) -> float | None:
        """Return how long to wait before the next attempt, or None to give up.

        `attempt` counts from 1, the one that has just failed; `remaining_s` is what is left of the deadline; `jitter`
        is uniform in [0, 1).
        """
        if attempt >= self.max_attempts or code not in self.codes:
            return None
        if pushback_ms is None:
            bound_s = min(self.initial_backoff_s * self.multiplier ** (attempt - 1), self.max_backoff_s)
            delay_s = bound_s * (0.8 + 0.4 * jitter)
        elif pushback_ms.isdecimal():
            delay_s = int(pushback_ms) / 1000
        else:
            return None
        return delay_s if remaining_s is None or delay_s < remaining_s else None


def code_of(error: grpc.RpcError) -> grpc.StatusCode | None:
    """Return what a call failed with, made by either of grpcio's parts; None when it is not known."""
    return error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None


def details_of(error: grpc.RpcError) -> str | None:
    """Return what the server, or grpcio, said of a failure; None when it is not known."""
    return error.details() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None


def is_broken(error: grpc.RpcError) -> bool:
    """Whether a stream broke in the middle.

    CANCELLED, when we did not: that is how a connection looks whose server was stopped without grace.
    """
    details = details_of(error) or ""
    return code_of(error) is grpc.StatusCode.CANCELLED or any(text in details for text in _BROKEN_TEXTS)


def pushback_of(error: grpc.RpcError) -> str | None:
    """Return the server's retry hint in milliseconds, as sent, or None when it sent none."""
    return trailing_value(error, _PUSHBACK_KEY)


def trailing_value(error: grpc.RpcError, wanted: str) -> str | None:
    """Return a value of a failed call's trailing metadata, or None when it is not there."""
    told = isinstance(error, grpc.Call | grpc.aio.AioRpcError)
    pairs: Any = error.trailing_metadata() if told else None
    return next((str(value) for key, value in pairs or () if key == wanted), None)
