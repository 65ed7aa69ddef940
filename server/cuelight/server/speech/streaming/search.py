"""One voice's search, whatever the model family: it is advanced by a step's output, and asked for the best so far."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from cuelight.server.speech.decoding.ctc_beam import CtcBeamSearch
from cuelight.server.speech.decoding.ctc_greedy import CtcGreedySearch
from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.transducer import GreedyState, greedy
from cuelight.server.speech.decoding.transducer_beam import BeamState, modified_beam
from cuelight.server.speech.streaming.front import BEST, PEAK
from cuelight.server.speech.streaming.transducer_engine import TransducerEngine

__all__ = ["CtcSearch", "Outputs", "TransducerSearch", "VoiceSearch"]

Outputs = Mapping[str, NDArray[Any]]
"""A step's outputs, of one row."""


class VoiceSearch(Protocol):
    """A search that may compute elsewhere. `chunk_speech` says which frames of the last chunk held something."""

    @property
    def chunk_speech(self) -> list[bool]: ...

    @property
    def trailing_blank_frames(self) -> int: ...

    def advance(self, outputs: Outputs) -> Awaitable[None] | None:
        """Take a step's outputs, of one row; where it is not done at once, return what to wait for."""
        ...

    def tokens(self) -> Sequence[int]:
        """Return the tokens of the best hypothesis so far."""
        ...

    def best(self, count: int = 1, final: bool = False) -> list[Decoded]:
        """Return the best hypotheses of the utterance, the best first; `final` at its end."""
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

    def __init__(self, rules: CtcGreedySearch | CtcBeamSearch, output: str) -> None:
        self._rules = rules
        self._output = output
        self.reset = rules.reset
        self.snapshot = rules.snapshot
        self.restore = rules.restore

    @property
    def chunk_speech(self) -> list[bool]:
        """See `VoiceSearch`."""
        return self._rules.chunk_speech

    @property
    def trailing_blank_frames(self) -> int:
        """See `VoiceSearch`."""
        return self._rules.trailing_blank_frames

    def advance(self, outputs: Outputs) -> None:
        """See `VoiceSearch`."""
        if isinstance(self._rules, CtcBeamSearch):
            self._rules.advance(outputs[self._output][0])
        else:
            self._rules.take(outputs[BEST][0].tolist(), outputs[PEAK][0].tolist())

    def tokens(self) -> Sequence[int]:
        """See `VoiceSearch`."""
        return self._rules.tokens

    def best(self, count: int = 1, final: bool = False) -> list[Decoded]:
        """See `VoiceSearch`."""
        if isinstance(self._rules, CtcBeamSearch):
            return self._rules.best(count, final)
        return self._rules.best(count)


class TransducerSearch:
    """A transducer search of one voice, advanced on the engine's thread together with other voices'."""

    def __init__(self, engine: TransducerEngine, state: GreedyState | BeamState, output: str) -> None:
        self._engine = engine
        self._output = output
        self._state = state
        self.reset = state.reset
        self.snapshot = state.snapshot
        self.restore = state.restore

    @property
    def chunk_speech(self) -> list[bool]:
        """See `VoiceSearch`."""
        return self._state.chunk_speech

    @property
    def trailing_blank_frames(self) -> int:
        """See `VoiceSearch`."""
        return self._state.trailing_blank_frames

    def advance(self, outputs: Outputs) -> Awaitable[None]:
        """See `VoiceSearch`."""
        search = modified_beam if isinstance(self._state, BeamState) else greedy
        return self._engine.advance(self._state, outputs[self._output][0], search)

    def tokens(self) -> Sequence[int]:
        """See `VoiceSearch`."""
        return self._state.tokens

    def best(self, count: int = 1, final: bool = False) -> list[Decoded]:
        """See `VoiceSearch`."""
        return self._state.best(count)
