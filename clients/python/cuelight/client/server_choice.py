"""Which of several servers to try next, and when: rules without a clock.

Each server has a time before which it is not asked again: what it said itself, or a backoff that grows as it fails.
The next one is whoever may be asked first; among those that may be asked now, the next in turn.
"""

import math
from dataclasses import dataclass

__all__ = ["ServerChoice", "SpeechResumePolicy"]


@dataclass(frozen=True, slots=True)
class SpeechResumePolicy:
    """How a live stream stays alive: tokens, what is kept, and how long a server is looked for.

    A token comes with every final result and at least every `token_interval_s`; `max_kept_bytes` of audio that was
    sent are kept for sending again, and the caller's chunks are read `max_ahead_bytes` ahead. After `give_up_after_s`
    without progress the last error is raised. A sign of life goes out when no chunk comes for `keep_alive_s`.
    """

    token_interval_s: float = 1.0
    give_up_after_s: float = 30.0
    initial_backoff_s: float = 0.02
    max_backoff_s: float = 1.0
    keep_alive_s: float = 5.0
    max_ahead_bytes: int = 4 * 1024 * 1024
    max_kept_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.max_ahead_bytes < 1 or self.max_kept_bytes < self.max_ahead_bytes:
            raise ValueError("max_kept_bytes must be at least max_ahead_bytes, and that at least 1")
        if self.token_interval_s <= 0 or self.keep_alive_s <= 0:
            raise ValueError("token_interval_s and keep_alive_s must be more than 0")


class ServerChoice:
    """The servers by number, and how each of them stands. Times are those of any one clock, in seconds."""

    def __init__(self, count: int, policy: SpeechResumePolicy) -> None:
        self.place = 0
        self._policy = policy
        self._ready_s = [-math.inf] * count
        self._failures = [0] * count
        self._patience_s: float | None = None
        """When to give up; counted from the first failure since a server last did its work."""

    def progressed(self) -> None:
        """The server at `place` did its work: forget what was, be patient anew."""
        self._failures = [0] * len(self._failures)
        self._patience_s = None

    def failed(self, now_s: float, jitter: float, hint_s: float | None = None) -> None:
        """The server at `place` failed; `hint_s` is what it said of when to come again, `jitter` is in [0, 1)."""
        if self._patience_s is None:
            self._patience_s = now_s + self._policy.give_up_after_s
        doubled = 2.0 ** min(self._failures[self.place], 16)
        backoff_s = min(self._policy.initial_backoff_s * doubled, self._policy.max_backoff_s) * (0.5 + jitter / 2)
        self._failures[self.place] += 1
        self._ready_s[self.place] = now_s + (backoff_s if hint_s is None else hint_s)

    def turn(self, now_s: float) -> float | None:
        """Go to the server to try next; return how long to wait before, or None when patience is at its end."""
        count = len(self._ready_s)
        turns = [(self.place + step) % count for step in range(1, count + 1)]
        self.place = min(turns, key=lambda place: max(self._ready_s[place], now_s))
        wait_s = max(self._ready_s[self.place] - now_s, 0.0)
        patient = self._patience_s is None or now_s + wait_s < self._patience_s
        return wait_s if patient else None

    @property
    def all_failed(self) -> bool:
        """Whether every server has failed since one last did its work."""
        return all(self._failures)
