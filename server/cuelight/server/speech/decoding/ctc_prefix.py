"""A prefix of the beam search, and what one frame does to it."""

from typing import Any

from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.log_space import NEVER, log_add
from cuelight.server.speech.decoding.phrases import ROOT

__all__ = ["CtcPrefix"]

Said = tuple["Said", int, float] | None
"""The tokens before the last one, from the back: what was before, frame, log-probability. Shared, never copied."""


class CtcPrefix:
    """A sequence of tokens with its two probabilities. It is changed within the frame that makes it, never after.

    `blank` and `token` are what ends in a blank and in the last token; `boost` is what phrases earned, `state` where in
    the graph they are. The last token is timed by the likeliest single way in, and as likely as its likeliest frame.
    """

    __slots__ = ("_arrived", "_said", "blank", "boost", "frame", "ids", "peak", "score", "state", "token", "total")

    def __init__(self, ids: tuple[int, ...], said: Said, boost: float, state: int) -> None:
        self.ids = ids
        self._said = said
        self.boost = boost
        self.state = state
        self.blank = self.token = self.total = self.score = self._arrived = NEVER
        self.frame = 0
        self.peak = 0.0

    @classmethod
    def empty(cls) -> "CtcPrefix":
        """Return the beginning: no token, said with certainty."""
        empty = cls((), None, 0.0, ROOT)
        empty.blank = empty.total = empty.score = 0.0
        return empty

    def stay(self, blank: float) -> "CtcPrefix":
        """Return the prefix after a frame of blank."""
        kept = CtcPrefix(self.ids, self._said, self.boost, self.state)
        kept.blank = self.total + blank
        kept.frame, kept.peak = self.frame, self.peak
        # a new way into this prefix retells when its last token was said only where it is likelier than all old ways
        kept._arrived = kept.blank
        return kept

    def ready(self, token: int) -> float:
        """Return the probability of what `token` can follow: only what ends in a blank, if it is the last one again."""
        return self.blank if self.ids and self.ids[-1] == token else self.total

    def repeat(self, before: "CtcPrefix", log_prob: float) -> None:
        """Add a frame in which the last token goes on; `before` is this prefix before the frame."""
        going_on = before.token + log_prob
        self.token = log_add(self.token, going_on)
        if going_on > NEVER:
            self.peak = max(self.peak, log_prob)
            self._arrived = max(self._arrived, going_on)

    def extended(
        self, ids: tuple[int, ...], arriving: float, frame: int, log_prob: float, boost: float, state: int
    ) -> "CtcPrefix":
        """Return the prefix that one more token makes."""
        longer = CtcPrefix(ids, self._before_another(), boost, state)
        longer.meet(self, arriving, frame, log_prob)
        return longer

    def meet(self, shorter: "CtcPrefix", arriving: float, frame: int, log_prob: float) -> None:
        """Add a way in from the prefix that is a token shorter."""
        self.token = log_add(self.token, arriving)
        if arriving > self._arrived:
            self._arrived = arriving
            self.frame, self.peak = frame, log_prob
            self._said = shorter._before_another()

    def decoded(self, back: float) -> Decoded:
        """Return the prefix as a result, `back` added to its score."""
        frames: list[int] = []
        log_probs: list[float] = []
        said = self._before_another()
        while said is not None:
            said, frame, log_prob = said
            frames.append(frame)
            log_probs.append(log_prob)
        return Decoded(self.ids, tuple(reversed(frames)), tuple(reversed(log_probs)), self.score + back)

    def snapshot(self) -> dict[str, Any]:
        """Return all that `restored` needs. JSON has no infinity: None stands for the probability 0."""
        decoded = self.decoded(0.0)
        return {
            "ids": list(decoded.ids),
            "frames": list(decoded.frames),
            "log_probs": list(decoded.log_probs),
            "blank": None if self.blank == NEVER else self.blank,
            "token": None if self.token == NEVER else self.token,
            "boost": self.boost,
            "state": self.state,
        }

    @classmethod
    def restored(cls, snapshot: dict[str, Any]) -> "CtcPrefix":
        """Return the prefix a snapshot was taken of."""
        said: Said = None
        for frame, log_prob in list(zip(snapshot["frames"], snapshot["log_probs"], strict=True))[:-1]:
            said = (said, frame, log_prob)
        prefix = cls(tuple(snapshot["ids"]), said, snapshot["boost"], snapshot["state"])
        prefix.blank = NEVER if snapshot["blank"] is None else snapshot["blank"]
        prefix.token = NEVER if snapshot["token"] is None else snapshot["token"]
        if prefix.ids:
            prefix.frame, prefix.peak = snapshot["frames"][-1], snapshot["log_probs"][-1]
        prefix.total = log_add(prefix.blank, prefix.token)
        prefix.score = prefix.total + prefix.boost
        return prefix

    def _before_another(self) -> Said:
        return (self._said, self.frame, self.peak) if self.ids else None
