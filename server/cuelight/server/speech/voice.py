"""What the speech service asks of a recognizer: a model that opens voices, and a voice that takes audio.

A voice belongs to the task that reads its stream: `accept`, `finalize` and `finish` are awaited one after the other.
What it finds out goes to its `Outbox` as it is known, from whatever task. `accept` returns when there is room for more:
that is how a stream that outruns its model is not read any further.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.speech.audio.source import AnySamples
from cuelight.server.speech.endpoint_rules import EndpointRules
from cuelight.server.speech.results import Update, VoiceState

__all__ = ["Outbox", "Phrase", "Recognizer", "RecognizerFacts", "Samples", "Voice", "VoiceOptions"]

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that are likelier here than elsewhere; `boost` is added to the log-probability of each of their tokens."""

    text: str
    boost: float = 1.5


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """What a caller asks of one voice. `beam` None leaves the search to the recognizer.

    `token_interval_s` is how often an `Update` should bring a `state` beside those of final results; None for never,
    then no update brings one.
    """

    interim: bool = False
    events: bool = False
    word_times: bool = False
    max_alternatives: int = 1
    beam: bool | None = None
    phrases: tuple[Phrase, ...] = ()
    endpointing: EndpointRules = field(default_factory=EndpointRules)
    token_interval_s: float | None = None
    live: bool = True
    """Whether somebody waits: a recording that is sent as fast as it can be gives way to live voices."""


class Outbox(Protocol):
    """Where a voice puts what it finds out."""

    async def put(self, update: Update) -> None:
        """Send an update; waits while the caller does not read. An interim result may be replaced by a later one."""
        ...


@dataclass(frozen=True, slots=True)
class RecognizerFacts:
    """What a model can do, as `ListModels` tells it."""

    family: str
    language: str
    sample_rate_hz: int
    chunk_s: float
    segmented: bool = False
    word_times: bool = True
    phrases: bool = False
    alternatives: bool = False
    elastic_cost: float = 0.0
    """What a voice takes where many speak, in CPU seconds a second, of a model that does more for each where few do;
    0 for one whose voices always take the same."""
    integers: bool = False
    """Whether voices take samples as integers of 16 bits, too."""
    trailing_silence_s: float = 1.2
    """The default of `EndpointRules.trailing_silence_s`."""


class Voice(Protocol):
    """One stream's recognizer."""

    async def accept(self, samples: AnySamples) -> None:
        """Take samples (n,) at the model's rate: float32 of full scale 1, or int16 if `RecognizerFacts.integers`."""
        ...

    async def finalize(self) -> None:
        """End the utterance now: its final result is in the outbox when this returns. The voice goes on."""
        ...

    async def finish(self) -> None:
        """No audio comes any more: recognize the tail; the last final result is in the outbox when this returns."""
        ...

    def keep_alive(self) -> None:
        """Stay, though no audio comes."""
        ...

    def close(self) -> None:
        """Let go of everything the voice holds; the caller may have left in the middle. May be called twice."""
        ...


class Recognizer(Protocol):
    """A model that recognizes speech. Lives as long as the model version it belongs to."""

    @property
    def facts(self) -> RecognizerFacts:
        """What it can do."""
        ...

    @property
    def stepped(self) -> ModelVersion | None:
        """The version whose sequence the states of voices hold: the model's own, or that of its voice detector."""
        ...

    def ignored(self, options: VoiceOptions) -> dict[str, str]:
        """Return the options that were asked for and that this model cannot do, by their field in RecognitionConfig,
        with the reason."""
        ...

    def open(self, options: VoiceOptions, outbox: Outbox, state: VoiceState | None = None) -> Voice:
        """Begin a voice, or go on from `state` with the audio from its `start_sample` on.

        Raises: Overloaded; SequenceNotActive for a state of another form.
        """
        ...
