"""A speech service whose words are known: the text of an utterance is the checksum of its samples.

It behaves as the contract says: audio is taken in chunks, a token is the whole state, what follows the acknowledged
sample is needed to go on. `trouble` is asked before each chunk and may abort the call, stop the server, or return
"handover" (then the call fails), "linger" (a handover after which the call stays) or "end" (as if all audio had come).
Audio that begins with `fLaC` stands for a container: samples behind four bytes.
"""

import json
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from cuelight.client import Channel
from cuelight.speech.v1 import speech_pb2 as pb
from cuelight.speech.v1 import speech_pb2_grpc as pb_grpc

UTTERANCE_SAMPLES = 1600
CHUNK_SAMPLES = 160
RATE_HZ = 16_000
MAGIC = b"fLaC"
WAV_HEADER_BYTES = 44

Trouble = Callable[[int, grpc.ServicerContext], str | None]
Context = grpc.ServicerContext


def no_trouble(sample: int, context: Context) -> str | None:
    return None


@dataclass
class State:
    """Where a voice is: all that a token seals."""

    sample: int = 0
    utterance: int = 0
    start: int = 0
    crc: int = 0

    def dump(self) -> bytes:
        return json.dumps(self.__dict__).encode()


@dataclass
class FakeSpeech(pb_grpc.SpeechServiceServicer):
    """`lag`: tokens stand at the beginning of the utterance, as those of a recognizer with a growing window do."""

    trouble: Trouble = no_trouble
    lag: bool = False
    repeats_finals: bool = False
    configs: list[pb.StreamingConfig] = field(default_factory=list)
    taken: list[tuple[int, bytes]] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    keep_alive: threading.Event = field(default_factory=threading.Event)

    def StreamingRecognize(
        self, requests: Iterator[pb.StreamingRecognizeRequest], context: Context
    ) -> Iterator[pb.StreamingRecognizeResponse]:
        try:
            yield from self._recognize(requests, context)
        except _EndedEarly:
            pass
        except _Lingers:
            for _ in requests:
                pass

    def _recognize(
        self, requests: Iterator[pb.StreamingRecognizeRequest], context: Context
    ) -> Iterator[pb.StreamingRecognizeResponse]:
        config = next(requests).config
        self.configs.append(config)
        state = State(**json.loads(config.resume_token)) if config.resume_token else State()
        saved = State(**state.__dict__)
        frame = 2 * max(config.recognition.audio.channel_count, 1)
        yield pb.StreamingRecognizeResponse(started=_started(config.recognition.model))
        if self.repeats_finals and state.utterance:
            yield pb.StreamingRecognizeResponse(results=[_result(state.utterance - 1, "again", 0, state.start, True)])
        waiting = bytearray()
        passed_over = state.sample * frame + len(MAGIC) if config.restarted else 0
        magic_left = len(MAGIC) if config.recognition.audio.encoding == pb.FLAC and not config.resume_token else 0
        for request in requests:
            if request.HasField("control"):
                kind = request.control.WhichOneof("control") or ""
                self.controls.append(kind)
                if kind == "keep_alive":
                    self.keep_alive.set()
                    continue
                yield from self._take(state, waiting, frame, everything=True, context=context, saved=saved)
                yield from self._final(state, saved)
                continue
            audio = request.audio[passed_over:]
            passed_over -= len(request.audio) - len(audio)
            waiting += audio[magic_left:]
            magic_left -= min(len(audio), magic_left)
            yield from self._take(state, waiting, frame, everything=False, context=context, saved=saved)
        yield from self._take(state, waiting, frame, everything=True, context=context, saved=saved)
        yield from self._final(state, saved)

    def _take(
        self, state: State, waiting: bytearray, frame: int, *, everything: bool, context: Context, saved: State
    ) -> Iterator[pb.StreamingRecognizeResponse]:
        while len(waiting) >= CHUNK_SAMPLES * frame or (everything and waiting):
            what = self.trouble(state.sample, context)
            if what in {"handover", "linger"}:
                yield _with_token(pb.StreamingRecognizeResponse(handover=True), saved if self.lag else state)
                if what == "linger":
                    raise _Lingers
                context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
            if what == "end":
                raise _EndedEarly
            chunk = bytes(waiting[: CHUNK_SAMPLES * frame])
            del waiting[: CHUNK_SAMPLES * frame]
            self.taken.append((state.sample * frame, chunk))
            state.crc = zlib.crc32(chunk, state.crc)
            state.sample += len(chunk) // frame
            if state.sample - state.start >= UTTERANCE_SAMPLES:
                yield from self._final(state, saved)
                continue
            text = f"{state.crc:08x}"
            response = pb.StreamingRecognizeResponse(
                results=[_result(state.utterance, text, state.start, state.sample, False)],
                processed_ms=_ms(state.sample),
            )
            yield _with_token(response, saved if self.lag else state)

    def _final(self, state: State, saved: State) -> Iterator[pb.StreamingRecognizeResponse]:
        if state.sample == state.start:
            return
        final = _result(state.utterance, f"{state.crc:08x}", state.start, state.sample, True)
        state.utterance, state.start, state.crc = state.utterance + 1, state.sample, 0
        saved.__dict__.update(state.__dict__)
        events = [pb.SpeechEvent(kind=pb.SpeechEvent.SPEECH_ENDED, at_ms=_ms(state.sample))]
        response = pb.StreamingRecognizeResponse(results=[final], events=events, processed_ms=_ms(state.sample))
        yield _with_token(response, state)

    def Recognize(self, requests: Iterator[pb.RecognizeRequest], context: Context) -> Iterator[pb.RecognizeResponse]:
        config = next(requests).config
        yield pb.RecognizeResponse(started=_started(config.model))
        state, saved, waiting = State(), State(), bytearray()
        for request in requests:
            waiting += request.audio[WAV_HEADER_BYTES if request.audio.startswith(b"RIFF") else 0 :]
            for response in self._take(state, waiting, 2, everything=False, context=context, saved=saved):
                yield from _recognized(response)
        for response in self._take(state, waiting, 2, everything=True, context=context, saved=saved):
            yield from _recognized(response)
        for response in self._final(state, saved):
            yield from _recognized(response)

    def DetectVoiceActivity(
        self, requests: Iterator[pb.DetectVoiceActivityRequest], context: Context
    ) -> Iterator[pb.DetectVoiceActivityResponse]:
        threshold = next(requests).config.threshold
        for number, request in enumerate(requests):
            kind = pb.SpeechEvent.SPEECH_STARTED if number % 2 == 0 else pb.SpeechEvent.SPEECH_ENDED
            yield pb.DetectVoiceActivityResponse(
                events=[pb.SpeechEvent(kind=kind, at_ms=len(request.audio))],
                probabilities=[threshold],
                step_ms=32,
                processed_ms=32 * (number + 1),
            )

    def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        model = pb.SpeechModel(name="sums", version=3, kind=pb.SpeechModel.STREAMING, languages=["en-US"], chunk_ms=160)
        return pb.ListModelsResponse(models=[model])


class _EndedEarly(Exception):
    """Ends the call as if all audio had come."""


class _Lingers(Exception):
    """Answers no more, and stays until the caller leaves."""


@contextmanager
def served(fake: FakeSpeech) -> Iterator[tuple[Channel, grpc.Server]]:
    """Serve a fake on a free port; yield a channel to it and the server, which a test may stop."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    pb_grpc.add_SpeechServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Channel(f"127.0.0.1:{port}") as channel:
            yield channel, server
    finally:
        server.stop(0).wait()


def once_at(at: int, what: Trouble) -> Trouble:
    """Return trouble that comes with the chunk that holds a sample, the first time it is taken."""
    left = [1]

    def trouble(sample: int, context: Context) -> str | None:
        if left[0] and sample <= at < sample + CHUNK_SAMPLES:
            left[0] -= 1
            return what(sample, context)
        return None

    return trouble


def expected_texts(samples: bytes, frame: int = 2, cuts: tuple[int, ...] = ()) -> list[str]:
    """Return the texts of an undisturbed run, by definition: utterances end at the cuts and when they are long."""
    texts, start = [], 0
    for cut in sorted({*cuts, len(samples) // frame}):
        while start < cut:
            # The utterance's length is counted chunk by chunk from its own start.
            end = min(start + UTTERANCE_SAMPLES, cut)
            texts.append(f"{zlib.crc32(samples[start * frame : end * frame]):08x}")
            start = end
    return texts


def _started(model: str) -> pb.StreamStarted:
    return pb.StreamStarted(model=model or "sums", model_version=3, language="en-US", ignored={"phrases": "cannot"})


def _ms(sample: int) -> int:
    return sample * 1000 // RATE_HZ


def _result(utterance: int, text: str, start: int, end: int, is_final: bool) -> pb.RecognitionResult:
    word = pb.Word(word=text, start_ms=_ms(start), end_ms=_ms(end), confidence=0.5)
    return pb.RecognitionResult(
        alternatives=[pb.Alternative(transcript=text, confidence=0.5, words=[word])],
        is_final=is_final,
        start_ms=_ms(start),
        end_ms=_ms(end),
        utterance=utterance,
    )


def _with_token(response: pb.StreamingRecognizeResponse, state: State) -> pb.StreamingRecognizeResponse:
    response.resume_token = state.dump()
    response.acknowledged_sample = state.sample
    return response


def _recognized(response: pb.StreamingRecognizeResponse) -> Iterator[pb.RecognizeResponse]:
    finals = [result for result in response.results if result.is_final]
    yield pb.RecognizeResponse(results=finals, processed_ms=response.processed_ms)
