"""The most likely symbol of each frame, repeats and blanks left out: what a CTC model says, at the least cost.

Equal to sherpa-onnx's online-ctc-greedy-search-decoder.cc in ids, frames and trailing blanks, however the frames are
cut into chunks. A probability is kept for each token beside it: the highest of the frames that the token fills.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.decoding.decoded import Decoded

__all__ = ["CtcGreedySearch"]

_NOTHING = -1


class CtcGreedySearch:
    """One utterance's best path. Owned by the voice that decodes."""

    def __init__(self, blank: int) -> None:
        self._blank = blank
        self.chunk_speech: list[bool] = []
        """Which frames of the last chunk were not blank."""
        self.reset()

    def reset(self) -> None:
        """Begin the next utterance at frame 0."""
        self.frames = 0
        self.trailing_blank_frames = 0
        self._ids: list[int] = []
        self._frames: list[int] = []
        self._log_probs: list[float] = []
        self._score = 0.0
        self._previous = _NOTHING

    @property
    def tokens(self) -> Sequence[int]:
        """The tokens so far."""
        return self._ids

    @property
    def decoded_anything(self) -> bool:
        """Whether the utterance has a token."""
        return bool(self._ids)

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Take the next (frames, vocab) float32."""
        self.take(log_probs.argmax(axis=1).tolist(), log_probs.max(axis=1).tolist())

    def take(self, best: list[int], peaks: list[float]) -> None:
        """Take the next frames, of each its likeliest symbol and the log-probability of that."""
        blank, previous = self._blank, self._previous
        for offset, (symbol, peak) in enumerate(zip(best, peaks, strict=True)):
            if symbol == blank:
                self.trailing_blank_frames += 1
            else:
                self.trailing_blank_frames = 0
                self._take(symbol, peak, self.frames + offset, symbol == previous)
            previous = symbol
        self._previous = previous
        self.frames += len(best)
        self._score += sum(peaks)
        self.chunk_speech = [symbol != blank for symbol in best]

    def best(self, count: int = 1) -> list[Decoded]:
        """Return what was said: one sequence, whatever `count` is."""
        return [Decoded(tuple(self._ids), tuple(self._frames), tuple(self._log_probs), self._score)]

    def snapshot(self) -> dict[str, Any]:
        """Return all that `restore` needs, in JSON's types."""
        return {
            "count": self.frames,
            "trailing": self.trailing_blank_frames,
            "previous": self._previous,
            "ids": self._ids.copy(),
            "frames": self._frames.copy(),
            "log_probs": self._log_probs.copy(),
            "score": self._score,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on where a snapshot was taken."""
        self.frames = snapshot["count"]
        self.trailing_blank_frames = snapshot["trailing"]
        self._previous = snapshot["previous"]
        self._ids = list(snapshot["ids"])
        self._frames = list(snapshot["frames"])
        self._log_probs = list(snapshot["log_probs"])
        self._score = snapshot["score"]

    def _take(self, symbol: int, peak: float, frame: int, repeated: bool) -> None:
        if not repeated:
            self._ids.append(symbol)
            self._frames.append(frame)
            self._log_probs.append(peak)
        elif peak > self._log_probs[-1]:
            self._log_probs[-1] = peak
