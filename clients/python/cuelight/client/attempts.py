"""The attempts of one call, against the clock: how long the next may take, and when it comes."""

import random
import time

import grpc

from cuelight.client.retries import RetryPolicy, code_of, is_broken, pushback_of

__all__ = ["Attempts"]


class Attempts:
    """Counts what has failed in a row. `timeout_s` is for all attempts and the waiting between them; None for ever.

    A stream (`streamed`) that breaks in the middle counts as UNAVAILABLE, whatever grpcio calls it.
    """

    def __init__(self, policy: RetryPolicy, timeout_s: float | None, *, streamed: bool = False) -> None:
        self._policy = policy
        self._streamed = streamed
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._failed = 0

    def left_s(self) -> float | None:
        """Return what is left of the deadline, 0 or more."""
        return None if self._deadline_s is None else max(self._deadline_s - time.monotonic(), 0.0)

    def delay_s(self, error: grpc.RpcError) -> float | None:
        """Take note of a failure; return how long to wait before the next attempt, or None to give up."""
        self._failed += 1
        code = grpc.StatusCode.UNAVAILABLE if self._streamed and is_broken(error) else code_of(error)
        if code is None:
            return None
        return self._policy.delay_s(self._failed, code, pushback_of(error), self.left_s(), random.random())

    def progressed(self) -> None:
        """Take note that the server has answered: what fails from here on is the first failure."""
        self._failed = 0
