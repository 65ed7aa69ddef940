"""DetectVoiceActivity: audio through a voice activity model, one step after another, and the events that come of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import numpy as np

from cuelight.server.errors import InvalidRequest, SequenceNotActive
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.speech.results import SpeechEvent
from cuelight.server.speech.service.audio_feed import AudioFeed
from cuelight.server.speech.service.options import add_events, audio_format_of
from cuelight.server.speech.vad import ServedVad
from cuelight.server.speech.voice import Samples
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["ActivityRules", "VadSteps", "detected"]

_THRESHOLD = 0.5
_MIN_SILENCE_MS = 100
_MIN_SPEECH_MS = 250
_HYSTERESIS = 0.15
"""Speech goes on down to this much below the threshold. Source: silero-vad 6.2, `get_speech_timestamps`."""


class ActivityRules:
    """From probabilities to events, one step after another. Pure.

    QUIET --(speech for min_speech)--> SPEAKING, told as of where it began --(silence for min_silence)--> QUIET
    """

    def __init__(self, step_s: float, threshold: float, min_silence_s: float, min_speech_s: float) -> None:
        self._step_s = step_s
        self._threshold = threshold
        self._min_silence_s = min_silence_s
        self._min_speech_s = min_speech_s
        self._step = 0
        self._since: int | None = None
        """The step at which what may change the state began."""
        self._speaking = False

    def push(self, probability: float) -> SpeechEvent | None:
        """Take the probability of the next step and return what has become clear with it."""
        step, self._step = self._step, self._step + 1
        changing = probability < self._threshold - _HYSTERESIS if self._speaking else probability >= self._threshold
        if not changing:
            if not self._speaking and probability >= self._threshold - _HYSTERESIS and self._since is not None:
                return None
            self._since = None
            return None
        self._since = step if self._since is None else self._since
        needed_s = self._min_silence_s if self._speaking else self._min_speech_s
        if (step + 1 - self._since) * self._step_s < needed_s:
            return None
        return self._turned(self._since)

    def finish(self) -> SpeechEvent | None:
        """Return the end of speech that goes on to the end of the audio."""
        return self._turned(self._step) if self._speaking else None

    def _turned(self, at: int) -> SpeechEvent:
        self._speaking = not self._speaking
        self._since = None
        return SpeechEvent("started" if self._speaking else "ended", at * self._step_s)


class VadSteps:
    """One voice's way through a voice detector, cut into steps. Owned by its stream's task; `close` it."""

    def __init__(self, version: ModelVersion) -> None:
        self._vad = ServedVad(version)
        self.rate_hz, self.chunk_samples = self._vad.rate_hz, self._vad.chunk_samples
        self.close = self._vad.close
        self._rest = np.empty(0, np.float32)

    async def probabilities(self, samples: Samples, last: bool = False) -> list[float]:
        """Return the probability of speech of each step that the samples complete; `last` fills the last one up."""
        held = np.concatenate([self._rest, samples])
        if last:
            held = np.pad(held, (0, -len(held) % self.chunk_samples))
        steps = len(held) // self.chunk_samples
        self._rest = held[steps * self.chunk_samples :]
        return await self._vad.probabilities(held[: steps * self.chunk_samples].reshape(steps, self.chunk_samples))


async def detected(
    requests: AsyncIterator[pb.DetectVoiceActivityRequest], find: Callable[[str], ModelVersion], max_idle_s: float
) -> AsyncGenerator[pb.DetectVoiceActivityResponse, None]:
    """Yield what is heard. Raises: InvalidRequest, ModelNotFound; SequenceNotActive when nothing comes."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("request") != "config":
        came = "nothing" if first is None else first.WhichOneof("request") or "an empty message"
        raise InvalidRequest(f"expected config as the first message, got {came}")
    config = first.config
    steps = VadSteps(find(config.model))
    step_s = steps.chunk_samples / steps.rate_hz
    rules = _rules(config, step_s)
    feed = AudioFeed(audio_format_of(config.audio), steps.rate_hz)
    taken = 0

    async def heard(samples: Samples, last: bool = False) -> pb.DetectVoiceActivityResponse:
        nonlocal taken
        taken += len(samples)
        response = pb.DetectVoiceActivityResponse(
            step_ms=round(step_s * 1000), processed_ms=taken * 1000 // steps.rate_hz
        )
        found = await steps.probabilities(samples, last)
        events = [event for probability in found if (event := rules.push(probability)) is not None]
        if last and (end := rules.finish()) is not None:
            events.append(end)
        add_events(response.events, events)
        if config.probabilities:
            response.probabilities.extend(found)
        return response

    try:
        while True:
            try:
                async with asyncio.timeout(max_idle_s):
                    request = await anext(requests, None)
            except TimeoutError:
                raise SequenceNotActive(f"no audio came for {max_idle_s:g} s; begin the stream again") from None
            if request is None:
                yield await heard(feed.finish(), last=True)
                return
            kind = request.WhichOneof("request")
            if kind == "config":
                raise InvalidRequest("config came twice: it is the first message, and only that")
            if kind is None:
                raise InvalidRequest("a message without audio or config")
            for samples in feed.feed(request.audio):
                response = await heard(samples)
                if response.events or response.probabilities:
                    yield response
    finally:
        steps.close()


def _rules(config: pb.VoiceActivityConfig, step_s: float) -> ActivityRules:
    if not 0 <= config.threshold <= 1:
        raise InvalidRequest(f"threshold: got {config.threshold:g}, expected 0 to 1")
    for name in ("min_silence_ms", "min_speech_ms"):
        if getattr(config, name) < 0:
            raise InvalidRequest(f"{name}: got {getattr(config, name)}, expected 0 or more")
    return ActivityRules(
        step_s,
        config.threshold or _THRESHOLD,
        (config.min_silence_ms or _MIN_SILENCE_MS) / 1000,
        (config.min_speech_ms or _MIN_SPEECH_MS) / 1000,
    )
