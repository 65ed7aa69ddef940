"""A speech service that counts instead of recognizing, behind the Riva service on a real front.

It hears one word in every 400 ms of audio: "one", "two" and so on, so that what a client prints can be told from the
length of what it sent. WAV headers are understood, other audio is taken for 16 bit PCM at the rate that was said.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from cuelight.server.errors import InvalidRequest, ModelNotFound
from cuelight.server.rpc.context import RpcContext
from cuelight.server.speech.riva.servicer import RivaServicer, riva_service
from cuelight.speech.v1 import speech_pb2 as pb
from tests.server.rpc.probe_service import ProbeApplication

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORD_MS = 400
MODEL = pb.SpeechModel(
    name="counting", version=1, kind=pb.SpeechModel.STREAMING, languages=["en"], sample_rate_hz=16_000, is_default=True
)
_DATA = b"data"


def counted(start_ms: int, end_ms: int) -> list[pb.Word]:
    """Return the words that end in this stretch of audio."""
    return [
        pb.Word(
            word=NUMBERS[index % len(NUMBERS)],
            start_ms=index * WORD_MS,
            end_ms=(index + 1) * WORD_MS,
            confidence=0.5,
        )
        for index in range(start_ms // WORD_MS, end_ms // WORD_MS)
    ]


@dataclass
class Count:
    """One stream's audio and the utterance that is open."""

    config: pb.RecognitionConfig
    rate_hz: int = 0
    samples: int = 0
    began_ms: int = 0
    utterance: int = 0
    told: int = 0
    header: bytes = b""
    odd: bytes = field(default=b"")

    def take(self, audio: bytes) -> None:
        """Count the samples, behind the header if there is one; it may come in any number of messages."""
        if not self.rate_hz:
            self.header += audio
            if self.header.startswith(b"RIFF"):
                _, _, audio = self.header.partition(_DATA)
                if len(audio) < 4:
                    return
                self.rate_hz, audio = int.from_bytes(self.header[24:28], "little"), audio[4:]
            elif not self.config.audio.sample_rate_hz:
                raise InvalidRequest("audio: no header that is known, and no sample rate")
            else:
                self.rate_hz, audio = self.config.audio.sample_rate_hz, self.header
        audio = self.odd + audio
        self.odd = audio[len(audio) // 2 * 2 :]
        self.samples += len(audio) // 2

    @property
    def ms(self) -> int:
        """How much audio has come."""
        return self.samples * 1000 // self.rate_hz if self.rate_hz else 0

    def interim(self) -> list[pb.RecognitionResult]:
        """Return what is stable and the last word, which is not, if there is a new one."""
        words = [word.word for word in counted(self.began_ms, self.ms)]
        if len(words) == self.told:
            return []
        self.told = len(words)
        parts = ((" ".join(words[:-1]), 0.9), (words[-1], 0.1))
        return [
            pb.RecognitionResult(alternatives=[pb.Alternative(transcript=text)], stability=stability)
            for text, stability in parts
            if text
        ]

    def final(self) -> pb.RecognitionResult:
        """End the utterance."""
        words = counted(self.began_ms, self.ms)
        text = " ".join(word.word for word in words)
        asked = max(self.config.max_alternatives, 1)
        alternatives = [pb.Alternative(transcript=text, confidence=0.75)]
        alternatives += [pb.Alternative(transcript=f"{text} or {rank}", confidence=0.5) for rank in range(1, asked)]
        if self.config.word_times:
            alternatives[0].words.extend(words)
        result = pb.RecognitionResult(
            alternatives=alternatives,
            is_final=True,
            start_ms=self.began_ms,
            end_ms=self.ms,
            utterance=self.utterance,
        )
        self.began_ms, self.utterance, self.told = self.ms // WORD_MS * WORD_MS, self.utterance + 1, 0
        return result


class CountingSpeech:
    """Our speech service, as far as the Riva service needs it."""

    async def StreamingRecognize(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.StreamingRecognizeResponse, None]:
        """Tell every word as an interim result; tell the end as a final one."""
        config = (await anext(requests)).config
        count = Count(config.recognition)
        yield pb.StreamingRecognizeResponse(started=started(config.recognition))
        async for request in requests:
            count.take(request.audio)
            results = count.interim() if config.interim_results else []
            if request.control.HasField("finalize"):
                results = [count.final()]
            yield pb.StreamingRecognizeResponse(results=results, processed_ms=count.ms)
        yield pb.StreamingRecognizeResponse(results=[count.final()], processed_ms=count.ms)

    async def Recognize(
        self, requests: AsyncIterator[pb.RecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.RecognizeResponse, None]:
        """Tell all of it as one utterance."""
        config = (await anext(requests)).config
        count = Count(config)
        yield pb.RecognizeResponse(started=started(config))
        async for request in requests:
            count.take(request.audio)
        yield pb.RecognizeResponse(results=[count.final()], processed_ms=count.ms)

    async def ListModels(self, request: pb.ListModelsRequest, context: RpcContext) -> pb.ListModelsResponse:
        """Return the one model."""
        return pb.ListModelsResponse(models=[MODEL])


def started(config: pb.RecognitionConfig) -> pb.StreamStarted:
    """Return what the stream is. Raises: ModelNotFound; InvalidRequest for another language."""
    if config.model not in ("", MODEL.name):
        raise ModelNotFound(f'no model "{config.model}" here')
    if config.language not in ("", *MODEL.languages):
        raise InvalidRequest(f'language: model "{MODEL.name}" knows en, got {config.language}')
    ignored = {"phrases": "this model counts"} if config.phrases else {}
    return pb.StreamStarted(model=MODEL.name, model_version=MODEL.version, language="en", ignored=ignored)


class CountingApplication(ProbeApplication):
    """What the fronts host: the Riva service alone."""

    def __init__(self, max_in_flight: int) -> None:
        super().__init__(max_in_flight)
        self.services = (riva_service(RivaServicer(CountingSpeech())),)


def build(config_json: str) -> CountingApplication:
    """Return the application; the configuration is how many calls may be in flight."""
    return CountingApplication(int(config_json))
