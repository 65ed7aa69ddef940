"""Speech in, words out: recordings, live voices, and who speaks when.

`transcribe` and `recognize` take recordings as fast as they can be sent; `stream` takes a voice as it speaks and goes
on at the next server when one dies.
"""

import random
import time
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import grpc

from cuelight.client.audio_log import Control
from cuelight.client.channel import Channel
from cuelight.client.errors import CuelightClientError, error_from
from cuelight.client.server_choice import ServerChoice, SpeechResumePolicy
from cuelight.client.speech_options import AudioFormat, RecognitionOptions, audio_message, config_message
from cuelight.client.speech_stream import SpeechStream, is_passing, retry_hint_s
from cuelight.client.transcripts import (
    RecognitionResult,
    SpeechEvent,
    SpeechUpdate,
    StreamStarted,
    Transcript,
    events_from,
    result_from,
    started_from,
)
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["SpeechClient", "SpeechModel", "VoiceActivity"]

_SERVICE = "/cuelight.speech.v1.SpeechService"
_READ_BYTES = 256 * 1024
_KINDS = {
    pb.SpeechModel.STREAMING: "streaming",
    pb.SpeechModel.SEGMENTED: "segmented",
    pb.SpeechModel.VOICE_ACTIVITY: "voice activity",
}

Recording = str | Path | bytes | Iterable[bytes]


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """A model and what it can do. `kind`: "streaming", "segmented" or "voice activity"."""

    name: str
    version: int
    kind: str
    languages: tuple[str, ...]
    sample_rate_hz: int
    chunk_s: float
    family: str
    word_times: bool
    phrases: bool
    alternatives: bool
    is_default: bool


@dataclass(frozen=True, slots=True)
class VoiceActivity:
    """Speech that begins or ends; where asked for, the probability of each step of `step_s` since the last update."""

    events: tuple[SpeechEvent, ...]
    probabilities: tuple[float, ...]
    step_s: float
    processed_s: float


class SpeechClient:
    """Calls on one server, or on several that can stand in for each other, in order of preference."""

    def __init__(self, channels: Channel | Items[Channel], *, policy: SpeechResumePolicy | None = None) -> None:
        self._channels = [channels] if isinstance(channels, Channel) else list(channels)
        if not self._channels:
            raise ValueError("expected at least one channel")
        self._policy = policy if policy is not None else SpeechResumePolicy()

    def models(self) -> list[SpeechModel]:
        """Return the models that recognize or detect speech, by name."""
        request, path = pb.ListModelsRequest(), f"{_SERVICE}/ListModels"
        response: pb.ListModelsResponse = self._channels[0].call(path, request, pb.ListModelsResponse)
        return [_model_from(model) for model in response.models]

    def transcribe(self, audio: Recording, *, model: str = "", options: RecognitionOptions | None = None) -> Transcript:
        """Return all that is said in a recording: a file's path, its bytes, or its bytes in pieces.

        Raises: InvalidRequest for audio or options the server cannot take; NotFound; Overloaded and Unavailable after
        every server was tried; ServerError; OSError for a file that cannot be read.
        """
        results: list[RecognitionResult] = []
        duration_s, started = 0.0, None
        for update in self.recognize(audio, model=model, options=options):
            results += update.results
            duration_s = update.processed_s
            started = update.started or started
        return Transcript(tuple(results), duration_s, started)

    def recognize(
        self, audio: Recording, *, model: str = "", options: RecognitionOptions | None = None
    ) -> Iterator[SpeechUpdate]:
        """Yield the final results of a recording as they are known; otherwise as `transcribe`.

        A path or bytes are sent again from their beginning when a server dies; each result still comes once.
        """
        config = config_message(model, options if options is not None else RecognitionOptions())
        repeatable = isinstance(audio, str | Path | bytes)
        choice = ServerChoice(len(self._channels), self._policy)
        delivered = _Delivered()
        while True:
            before = delivered.progress
            upload = _Upload(_pieces(audio))
            requests = _recognize_requests(config, upload)
            path = f"{_SERVICE}/Recognize"
            call = self._channels[choice.place].open_stream(path, requests, pb.RecognizeResponse)
            try:
                for response in call:
                    if (update := delivered.new(response)) is not None:
                        yield update
                return
            except grpc.RpcError as error:
                upload.raise_failure()
                if delivered.progress > before:
                    choice.progressed()
                choice.failed(time.monotonic(), random.random(), retry_hint_s(error))
                wait_s = choice.turn(time.monotonic())
                if wait_s is None or not repeatable or not is_passing(error):
                    raise error_from(error) from None
                time.sleep(wait_s)
            finally:
                call.cancel()

    def stream(
        self,
        chunks: Iterable[bytes | Control],
        *,
        model: str = "",
        options: RecognitionOptions | None = None,
        interim: bool = True,
        events: bool = False,
    ) -> SpeechStream:
        """Recognize a voice as it speaks: take its audio in chunks of any size and yield what is new.

        `FINALIZE` between chunks ends the utterance there. When a server dies or hands over, the stream goes on at the
        next one; each final result comes once. `chunks` are read by another thread.

        Raises: as `transcribe`, while iterating; NotActive when the state is lost; what `chunks` raises.
        """
        known = options if options is not None else RecognitionOptions()
        config = pb.StreamingConfig(
            recognition=config_message(model, known),
            interim_results=interim,
            speech_events=events,
            resumable=True,
            token_interval_ms=max(round(self._policy.token_interval_s * 1000), 1),
        )
        return SpeechStream(self._channels, chunks, config, known, self._policy)

    def detect_voice_activity(
        self,
        chunks: Iterable[bytes],
        *,
        model: str = "",
        audio: AudioFormat | None = None,
        threshold: float = 0.5,
        min_silence_s: float = 0.1,
        min_speech_s: float = 0.25,
        probabilities: bool = False,
    ) -> Iterator[VoiceActivity]:
        """Tell when somebody speaks, while the audio comes; on the first server alone.

        Raises: InvalidRequest, NotFound, Overloaded, Unavailable, ServerError.
        """
        config = pb.VoiceActivityConfig(
            model=model,
            audio=audio_message(audio if audio is not None else AudioFormat()),
            threshold=threshold,
            min_silence_ms=round(min_silence_s * 1000),
            min_speech_ms=round(min_speech_s * 1000),
            probabilities=probabilities,
        )
        upload = _Upload(chunks)
        path, requests = f"{_SERVICE}/DetectVoiceActivity", _activity_requests(config, upload)
        try:
            for response in self._channels[0].stream(path, requests, pb.DetectVoiceActivityResponse):
                yield _activity_from(response)
        except CuelightClientError:
            upload.raise_failure()
            raise


class _Upload:
    """A caller's audio; keeps what its iterable raises, which grpcio would replace by an error of its own."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except Exception as error:
            self._error = error
            raise

    def raise_failure(self) -> None:
        """Raise what the caller's iterable raised, if it did."""
        if self._error is not None:
            raise self._error


class _Delivered:
    """What a caller has had of a recording that may be sent more than once."""

    def __init__(self) -> None:
        self._utterance = -1
        self._processed_ms = 0
        self._started: StreamStarted | None = None

    @property
    def progress(self) -> tuple[int, int]:
        return self._processed_ms, self._utterance

    def new(self, response: pb.RecognizeResponse) -> SpeechUpdate | None:
        """Return what the caller has not had, or None."""
        results = tuple(result_from(result) for result in response.results if result.utterance > self._utterance)
        self._utterance = max([self._utterance, *(result.utterance for result in results)])
        started = None
        if response.HasField("started") and self._started is None:
            started = self._started = started_from(response.started)
        further = response.processed_ms > self._processed_ms
        self._processed_ms = max(self._processed_ms, response.processed_ms)
        if not (results or started or further):
            return None
        return SpeechUpdate(results, (), self._processed_ms / 1000, started)


def _recognize_requests(config: pb.RecognitionConfig, pieces: Iterable[bytes]) -> Iterator[pb.RecognizeRequest]:
    yield pb.RecognizeRequest(config=config)
    for piece in pieces:
        yield pb.RecognizeRequest(audio=piece)


def _activity_requests(
    config: pb.VoiceActivityConfig, chunks: Iterable[bytes]
) -> Iterator[pb.DetectVoiceActivityRequest]:
    yield pb.DetectVoiceActivityRequest(config=config)
    for chunk in chunks:
        yield pb.DetectVoiceActivityRequest(audio=chunk)


def _pieces(audio: Recording) -> Iterator[bytes]:
    """Yield a recording in pieces that fit into messages."""
    if isinstance(audio, str | Path):
        with Path(audio).open("rb") as file:
            while piece := file.read(_READ_BYTES):
                yield piece
        return
    for whole in [audio] if isinstance(audio, bytes) else audio:
        for start in range(0, len(whole), _READ_BYTES):
            yield whole[start : start + _READ_BYTES]


def _activity_from(response: pb.DetectVoiceActivityResponse) -> VoiceActivity:
    return VoiceActivity(
        events_from(response.events),
        tuple(response.probabilities),
        response.step_ms / 1000,
        response.processed_ms / 1000,
    )


def _model_from(model: pb.SpeechModel) -> SpeechModel:
    return SpeechModel(
        name=model.name,
        version=model.version,
        kind=_KINDS.get(model.kind, "unknown"),
        languages=tuple(model.languages),
        sample_rate_hz=model.sample_rate_hz,
        chunk_s=model.chunk_ms / 1000,
        family=model.family,
        word_times=model.word_times,
        phrases=model.phrases,
        alternatives=model.alternatives,
        is_default=model.is_default,
    )
