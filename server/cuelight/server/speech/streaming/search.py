"""One voice's search, whatever the model family: it is advanced by a step's output, and asked for the best so far."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.decoding.ctc_greedy import CtcGreedySearch
from cuelight.server.speech.decoding.decoded import Decoded

__all__ = ["CtcSearch", "Frames", "VoiceSearch"]

Frames = NDArray[np.float32]


class CtcRules(Protocol):
    """The search itself: greedy, or prefix beam."""

    def advance(self, log_probs: Frames) -> None: ...

    def best(self, count: int = 1) -> list[Decoded]: ...

    def reset(self) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, snapshot: dict[str, Any]) -> None: ...


class VoiceSearch(Protocol):
    """A search that may compute elsewhere."""

    async def advance(self, output: Frames) -> Sequence[bool]:
        """Take a step's output (frames, size); return for each frame whether it holds something."""
        ...

    def best(self, count: int = 1) -> list[Decoded]:
        """Return the best hypotheses since the last reset."""
        ...

    def reset(self) -> None:
        """Begin another utterance."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Return the search as JSON values."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        ...


class CtcSearch:
    """A CTC search of one voice; cheap enough for the event loop."""

    def __init__(self, blank: int, rules: CtcRules | None = None) -> None:
        self._blank = blank
        self._rules: CtcRules = rules if rules is not None else CtcGreedySearch(blank)

    async def advance(self, output: Frames) -> Sequence[bool]:
        """See `VoiceSearch`."""
        self._rules.advance(output)
        held: list[bool] = (output.argmax(axis=-1) != self._blank).tolist()
        return held

    def best(self, count: int = 1) -> list[Decoded]:
        """See `VoiceSearch`."""
        return self._rules.best(count)

    def reset(self) -> None:
        """See `VoiceSearch`."""
        self._rules.reset()

    def snapshot(self) -> dict[str, Any]:
        """See `VoiceSearch`."""
        return self._rules.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """See `VoiceSearch`."""
        self._rules.restore(snapshot)
