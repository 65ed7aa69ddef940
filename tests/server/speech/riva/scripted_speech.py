"""A speech service that says what a test wrote down, and records what it was asked; and a call to give it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from cuelight.server.rpc.context import Metadata, RpcContext
from cuelight.speech.v1 import speech_pb2 as pb

ENGLISH = pb.StreamStarted(model="tiny", model_version=1, language="en")


class Call:
    """What a handler may know of its call, and what it told its caller at the end."""

    def __init__(self) -> None:
        self.attachment: object = None
        self.trailing: Metadata = ()

    def metadata(self) -> Metadata:
        return (("x-request-id", "seven"),)

    def deadline(self) -> float | None:
        return 12.5

    def peer(self) -> str:
        return "unix:"

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        self.trailing = tuple(metadata)


class ScriptedSpeech:
    """Answers a stream's config with the first list of responses, each later request with the next, the end with the
    last; a recording as soon as all of it has come."""

    def __init__(
        self,
        *answers: Sequence[pb.StreamingRecognizeResponse],
        recording: Iterable[pb.RecognizeResponse] = (),
        models: Iterable[pb.SpeechModel] = (),
        at_start: Callable[[RpcContext], None] = lambda context: None,
    ) -> None:
        self.requests: list[Any] = []
        self.closed = False
        self._answers = list(answers)
        self._recording = list(recording)
        self._models = list(models)
        self._at_start = at_start

    async def StreamingRecognize(
        self, requests: AsyncIterator[pb.StreamingRecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.StreamingRecognizeResponse, None]:
        self._at_start(context)
        try:
            async for request in requests:
                self.requests.append(request)
                for response in self._next():
                    yield response
            for response in self._next():
                yield response
        finally:
            self.closed = True

    async def Recognize(
        self, requests: AsyncIterator[pb.RecognizeRequest], context: RpcContext
    ) -> AsyncGenerator[pb.RecognizeResponse, None]:
        self.requests = [request async for request in requests]
        for response in self._recording:
            yield response

    async def ListModels(self, request: pb.ListModelsRequest, context: RpcContext) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=self._models)

    def _next(self) -> Sequence[pb.StreamingRecognizeResponse]:
        return self._answers.pop(0) if self._answers else ()


def started(**options: Any) -> pb.StreamingRecognizeResponse:
    """Return a first response."""
    response = pb.StreamingRecognizeResponse(started=ENGLISH)
    response.started.ignored.update(options)
    return response


def heard(text: str, *, final: bool = False, processed_ms: int = 0, **fields: Any) -> pb.StreamingRecognizeResponse:
    """Return a response with one result of one alternative."""
    result = pb.RecognitionResult(alternatives=[pb.Alternative(transcript=text)], is_final=final, **fields)
    return pb.StreamingRecognizeResponse(results=[result], processed_ms=processed_ms)


def model(name: str, *languages: str, **fields: Any) -> pb.SpeechModel:
    """Return a model; a streaming one unless said otherwise."""
    return pb.SpeechModel(**{"name": name, "languages": languages, "kind": pb.SpeechModel.STREAMING, **fields})


async def each(*messages: Any) -> AsyncIterator[Any]:
    """Yield the messages as a caller's stream does."""
    for message in messages:
        yield message


def all_of(responses: AsyncIterator[Any]) -> list[Any]:
    """Return everything that a handler answers."""

    async def gather() -> list[Any]:
        return [response async for response in responses]

    return asyncio.run(gather())
