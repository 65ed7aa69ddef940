"""nvidia.riva.asr.RivaSpeechRecognition: Riva's clients served by our own speech service.

Nothing is recognized or kept here. Requests are translated when our service asks for them, so that its flow control is
the caller's, and responses as they come. What Riva offers and we do not is left out and told in the trailing metadata;
see `call.py`. Our resume tokens have no place in Riva's contract: a stream that is handed over ends with UNAVAILABLE.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Protocol

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.server.errors import InvalidRequest, ShuttingDown
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Service, service_from_descriptor
from cuelight.server.speech.riva.call import RivaCall
from cuelight.server.speech.riva.models import addressed, described
from cuelight.server.speech.riva.options import ignored_options, in_rivas_words, recognition_config
from cuelight.server.speech.riva.results import offline_results
from cuelight.server.speech.riva.stream import RivaStream
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["RivaServicer", "Speech", "riva_service"]

_PIECE_BYTES = 256 * 1024


class Speech(Protocol):
    """What is needed of our speech service."""

    def StreamingRecognize(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.StreamingRecognizeResponse, None]:
        """Recognize a voice as it speaks."""
        ...

    def Recognize(
        self, requests: AsyncIterator[pb.RecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.RecognizeResponse, None]:
        """Recognize a recording."""
        ...

    async def ListModels(self, request: pb.ListModelsRequest, context: RpcContext) -> pb.ListModelsResponse:
        """Return the models."""
        ...


def riva_service(servicer: "RivaServicer") -> Service:
    """Return the table that the fronts mount."""
    return service_from_descriptor(riva.DESCRIPTOR.services_by_name["RivaSpeechRecognition"], servicer)


class RivaServicer:
    """The handlers. Hold no state of their own."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech

    async def StreamingRecognize(
        self, requests: AsyncIterator[riva.StreamingRecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[riva.StreamingRecognizeResponse, None]:
        """Recognize a voice as it speaks; see the proto for its errors."""
        first = await anext(requests, None)
        if first is None or not first.HasField("streaming_config"):
            raise InvalidRequest(f"streaming_config: expected in the first message, got {_content(first)}")
        call = RivaCall(context)
        asked = first.streaming_config
        config = pb.StreamingConfig(
            recognition=await self._config(asked.config, call), interim_results=asked.interim_results
        )
        stream = RivaStream(call, first)
        async with aclosing(self._speech.StreamingRecognize(stream.requests(config, requests), call)) as responses:
            async for response in responses:
                translated = stream.response(response)
                if translated is not None:
                    yield translated
                if response.handover:
                    raise ShuttingDown("the server shuts down; begin again at another one")

    async def Recognize(self, request: riva.RecognizeRequest, context: RpcContext) -> riva.RecognizeResponse:
        """Recognize a recording; see the proto for its errors."""
        audio = request.audio  # once: each look at the field copies it
        if not audio:
            raise InvalidRequest("audio: expected a recording, got 0 bytes")
        call = RivaCall(context)
        pieces = _in_pieces(await self._config(request.config, call), audio)
        language = ""
        results: list[pb.RecognitionResult] = []
        async with aclosing(self._speech.Recognize(pieces, call)) as responses:
            async for response in responses:
                if response.HasField("started"):
                    language = response.started.language
                    call.ignore(in_rivas_words(response.started.ignored))
                results.extend(response.results)
        return riva.RecognizeResponse(
            results=offline_results(results, language), id=request.id if request.HasField("id") else None
        )

    async def GetRivaSpeechRecognitionConfig(
        self, request: riva.RivaSpeechRecognitionConfigRequest, context: RpcContext
    ) -> riva.RivaSpeechRecognitionConfigResponse:
        """Return the models and what they can do. Raises: ModelNotFound."""
        return described(await self._models(context), request.model_name)

    async def _config(self, asked: riva.RecognitionConfig, call: RivaCall) -> pb.RecognitionConfig:
        """Return the wish in our words, after telling the caller what of it is left out."""
        call.ignore(ignored_options(asked))
        models = await self._models(call) if asked.language_code else ()
        return recognition_config(asked, *addressed(models, asked.model, asked.language_code))

    async def _models(self, context: RpcContext) -> Iterable[pb.SpeechModel]:
        return (await self._speech.ListModels(pb.ListModelsRequest(), context)).models


def _content(request: riva.StreamingRecognizeRequest | None) -> str:
    """Return what a message that should be the first one holds, in words."""
    if request is None:
        return "no message"
    return request.WhichOneof("streaming_request") or "a message without content"


async def _in_pieces(config: pb.RecognitionConfig, audio: bytes) -> AsyncIterator[pb.RecognizeRequest]:
    """Yield the config, then the audio piece by piece: our service takes it as it has room."""
    yield pb.RecognizeRequest(config=config)
    for start in range(0, len(audio), _PIECE_BYTES):
        yield pb.RecognizeRequest(audio=audio[start : start + _PIECE_BYTES])
