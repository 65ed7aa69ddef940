"""SpeechService: voices recognized live, recordings recognized whole, and which models do it."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from cuelight.server.config import SpeechConfig
from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Service, service_from_descriptor
from cuelight.server.speech.results import Update
from cuelight.server.speech.service.admission import Admission
from cuelight.server.speech.service.audio_feed import AudioFeed
from cuelight.server.speech.service.models import SpeechModels
from cuelight.server.speech.service.options import (
    add_events,
    add_results,
    audio_format_of,
    check_language,
    options_of,
)
from cuelight.server.speech.service.outbox import VoiceOutbox
from cuelight.server.speech.service.voice_activity import detected
from cuelight.server.speech.service.voice_call import VoiceCall
from cuelight.server.speech.service.voice_tokens import VoiceTokens
from cuelight.server.speech.voice import Recognizer, RecognizerFacts
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["SpeechServicer", "speech_service"]


def speech_service(servicer: "SpeechServicer") -> Service:
    """Return the table that the fronts mount."""
    return service_from_descriptor(pb.DESCRIPTOR.services_by_name["SpeechService"], servicer)


class SpeechServicer:
    """Owns the open voices, to tell them of the end; lives on the event loop."""

    def __init__(self, models: SpeechModels, tokens: VoiceTokens, admission: Admission, config: SpeechConfig) -> None:
        self._models = models
        self._tokens = tokens
        self._admission = admission
        self._config = config
        self._calls: set[VoiceCall] = set()

    async def StreamingRecognize(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.StreamingRecognizeResponse, None]:
        """Recognize a voice as it speaks; see the proto for its errors."""
        first = await anext(requests, None)
        if first is None or first.WhichOneof("request") != "config":
            came = "nothing" if first is None else first.WhichOneof("request") or "an empty message"
            raise InvalidRequest(f"expected config as the first message, got {came}")
        config = first.config
        version, recognizer = self._models.find(config.recognition.model)
        facts = recognizer.facts
        elastic = bool(facts.elastic_cost)
        self._admission.enter(version.name, _expected_cost(version, facts), facts.chunk_s, elastic)
        try:
            call, started = self._opened(version, recognizer, config)
            try:
                yield pb.StreamingRecognizeResponse(started=started)
                async for update in call.updates(requests):
                    yield self._response(call, recognizer, update)
            finally:
                call.close()
                self._calls.discard(call)
        finally:
            self._admission.leave()

    async def Recognize(
        self, requests: AsyncIterator[pb.RecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.RecognizeResponse, None]:
        """Recognize a recording; see the proto for its errors."""
        first = await anext(requests, None)
        if first is None or not first.HasField("config"):
            raise InvalidRequest(f"expected config in the first message, got {'nothing' if first is None else 'none'}")
        version, recognizer = self._models.find(first.config.model)
        facts = recognizer.facts
        check_language(first.config.language, facts, version.name)
        options = options_of(first.config, None, facts)
        feed = AudioFeed(audio_format_of(first.config.audio), facts.sample_rate_hz, integers=facts.integers)
        outbox = VoiceOutbox()
        call = VoiceCall(version, recognizer.open(options, outbox), outbox, feed, self._config.max_idle_s)
        try:
            yield pb.RecognizeResponse(started=_started(version, recognizer, recognizer.ignored(options)))
            async for update in call.updates(requests, first.audio):
                response = pb.RecognizeResponse(processed_ms=round(update.processed_s * 1000))
                add_results(response.results, update.results)
                yield response
        finally:
            call.close()

    async def DetectVoiceActivity(
        self, requests: AsyncIterator[pb.DetectVoiceActivityRequest], context: RpcContext
    ) -> AsyncGenerator[pb.DetectVoiceActivityResponse, None]:
        """Tell when somebody speaks; see the proto for its errors."""
        responses = detected(requests, self._models.vad, self._config.max_idle_s)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()

    async def ListModels(self, request: pb.ListModelsRequest, context: RpcContext) -> pb.ListModelsResponse:
        """Return the models that recognize or detect speech."""
        response = pb.ListModelsResponse()
        pairs = self._models.all()
        default = self._models.default_or_none()
        for version, recognizer in pairs:
            _add_model(response, version, recognizer, default)
        return response

    def hand_over(self) -> None:
        """Let every voice end that can go on elsewhere: the server shuts down."""
        for call in self._calls:
            call.hand_over()

    def _opened(
        self, version: ModelVersion, recognizer: Recognizer, config: pb.StreamingConfig
    ) -> tuple[VoiceCall, pb.StreamStarted]:
        facts = recognizer.facts
        check_language(config.recognition.language, facts, version.name)
        options = options_of(config.recognition, config, facts)
        snapshot = self._tokens.open(config.resume_token) if config.resume_token else None
        audio = audio_format_of(config.recognition.audio)
        feed = AudioFeed(audio, facts.sample_rate_hz, snapshot, config.restarted, facts.integers)
        stepped = recognizer.stepped
        state = self._tokens.state_for(version, stepped, snapshot) if snapshot is not None else None
        outbox = VoiceOutbox()
        voice = recognizer.open(options, outbox, state)

        def recognized(samples: int, waited_s: float) -> None:
            self._admission.recognized(samples / facts.sample_rate_hz, waited_s)

        call = VoiceCall(version, voice, outbox, feed, self._config.max_idle_s, recognized)
        call.resumable, call.stepped = config.resumable, stepped
        self._calls.add(call)
        return call, _started(version, recognizer, recognizer.ignored(options))

    def _response(self, call: VoiceCall, recognizer: Recognizer, update: Update) -> pb.StreamingRecognizeResponse:
        response = pb.StreamingRecognizeResponse(processed_ms=round(update.processed_s * 1000))
        add_results(response.results, update.results)
        add_events(response.events, update.events)
        if update.state is not None:
            rates = (call.feed.rate_hz, recognizer.facts.sample_rate_hz)
            token, sample = self._tokens.seal(call.version, call.stepped, update.state, *rates)
            response.resume_token, response.acknowledged_sample = token, sample
        return response


def _started(version: ModelVersion, recognizer: Recognizer, ignored: dict[str, str]) -> pb.StreamStarted:
    return pb.StreamStarted(
        model=version.name, model_version=version.version, language=recognizer.facts.language, ignored=ignored
    )


def _expected_cost(version: ModelVersion, facts: RecognizerFacts) -> float:
    """Return what the model should cost one voice, in CPU seconds a second, until it is measured.

    Of a model that is stepped, its share of a step that as many as fit take together.
    """
    if facts.elastic_cost:
        return facts.elastic_cost
    return min(seconds / rows for rows, seconds in version.steps.by_rows.items()) / facts.chunk_s


def _add_model(
    response: pb.ListModelsResponse, version: ModelVersion, recognizer: Recognizer | None, default: str
) -> None:
    model: Any = response.models.add(name=version.name, version=version.version)
    if recognizer is None:
        model.kind = pb.SpeechModel.VOICE_ACTIVITY
        return
    facts = recognizer.facts
    model.kind = pb.SpeechModel.SEGMENTED if facts.segmented else pb.SpeechModel.STREAMING
    model.languages.append(facts.language)
    model.sample_rate_hz, model.chunk_ms = facts.sample_rate_hz, round(facts.chunk_s * 1000)
    model.family, model.word_times = facts.family, facts.word_times
    model.phrases, model.alternatives = facts.phrases, facts.alternatives
    model.is_default = version.name == default
