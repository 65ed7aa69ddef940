"""VisionService: images named, turned into vectors and explained; live frames named."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from cuelight.server.config import VisionConfig
from cuelight.server.errors import InferenceFailed, InvalidRequest, Overloaded, SequenceNotActive, Unsupported
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Service, service_from_descriptor
from cuelight.server.vision.classification import normalized
from cuelight.server.vision.explanation import Explainer, check_options
from cuelight.server.vision.explanation_turns import ExplanationTurns
from cuelight.server.vision.frame_line import FrameRoom
from cuelight.server.vision.frames import FrameCall
from cuelight.server.vision.image_calls import ImageCall, ImageWay, error_of, for_each
from cuelight.server.vision.models import VisionModels
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["VisionServicer", "vision_service"]

_TOP_K = 5
_FRAME_TOP_K = 1
_MAX_WAITING_FRAMES = 16


def vision_service(servicer: "VisionServicer") -> Service:
    """Return the table that the fronts mount."""
    return service_from_descriptor(pb.DESCRIPTOR.services_by_name["VisionService"], servicer)


class VisionServicer:
    """Owns the open streams of frames, to tell them of the end, and the turns of explanations; on the event loop."""

    def __init__(self, models: VisionModels, way: ImageWay, config: VisionConfig) -> None:
        self._models = models
        self._way = way
        self._config = config
        self._streams: set[FrameCall] = set()
        self._room = FrameRoom(config.max_waiting_frame_bytes)
        self._turns = ExplanationTurns(config.threads, config.max_waiting_explanations)

    async def Classify(self, request: pb.ClassifyRequest, context: RpcContext) -> pb.ClassifyResponse:
        """Name what is on images; see the proto for its errors."""
        self._check_count(len(request.images))
        top_k, deadline_s = _top_k(request.top_k, _TOP_K), context.deadline()
        with self._models.using(request.model, request.model_version) as model:
            with self._way.call(model, len(request.images), deadline_s) as call:
                results = await for_each(
                    request.images,
                    lambda image: call.classify(image, top_k),
                    lambda error: pb.ClassifiedImage(error=error),
                )
            return pb.ClassifyResponse(model=model.version.name, model_version=model.version.version, results=results)

    async def Embed(self, request: pb.EmbedRequest, context: RpcContext) -> pb.EmbedResponse:
        """Turn images into vectors; see the proto for its errors."""
        self._check_count(len(request.images))
        with self._models.using(request.model, request.model_version, embeds=True) as model:
            if not model.facts.embedding:
                raise Unsupported(f'model "{model.version.name}": {model.facts.why_no_embedding}')
            with self._way.call(model, len(request.images), context.deadline()) as call:
                results = await for_each(
                    request.images,
                    lambda image: _embedded(call, image, request.normalize),
                    lambda error: pb.EmbeddedImage(error=error),
                )
            return pb.EmbedResponse(
                model=model.version.name,
                model_version=model.version.version,
                dimension=model.facts.embedding_dimension,
                results=results,
            )

    async def Explain(self, request: pb.ExplainRequest, context: RpcContext) -> pb.ExplainResponse:
        """Show which parts of an image speak for a class; see the proto for its errors."""
        check_options(request, self._config.max_masks)
        deadline_s = context.deadline()
        with (
            self._models.using(request.model, request.model_version) as model,
            self._turns.inside(),
            self._way.call(model, 1, deadline_s) as call,
        ):
            response = await Explainer(call, self._turns, request, self._config.max_masks, deadline_s).explain()
        self._way.counts.explanations[pb.ExplanationMethod.Name(response.method).lower()] += 1
        return response

    async def ClassifyFrames(
        self, requests: AsyncIterator[pb.ClassifyFramesRequest], context: RpcContext
    ) -> AsyncGenerator[pb.ClassifyFramesResponse, None]:
        """Name what is on live frames; see the proto for its errors."""
        first = await self._first(requests)
        if first is None or first.WhichOneof("request") != "config":
            came = "nothing" if first is None else first.WhichOneof("request") or "an empty message"
            raise InvalidRequest(f"expected config as the first message, got {came}")
        config, top_k = first.config, _top_k(first.config.top_k, _FRAME_TOP_K)
        if not 0 <= config.max_waiting <= _MAX_WAITING_FRAMES:
            raise InvalidRequest(f"max_waiting: got {config.max_waiting}, expected 1 to {_MAX_WAITING_FRAMES}, or 0")
        self._models.find(config.model, config.model_version)
        call = FrameCall(config.max_waiting or 1, self._room, self._config.max_idle_s, self._count_dropped)
        responses = call.answers(requests, lambda frame: self._frame(config, top_k, frame))
        self._streams.add(call)
        self._way.counts.frame_streams += 1
        try:
            async for response in responses:
                self._way.counts.frames_answered += 1
                yield response
        finally:
            self._way.counts.frame_streams -= 1
            self._streams.discard(call)
            await responses.aclose()

    async def ListModels(self, request: pb.ListModelsRequest, context: RpcContext) -> pb.ListModelsResponse:
        """Return the models that classify images."""
        default = self._models.default_or_none()
        response = pb.ListModelsResponse()
        for version, companion in self._models.all():
            model = response.models.add(name=version.name, version=version.version, unusable=companion.unusable)
            model.is_default = version.name == default
            if not companion.unusable:
                facts = companion.facts(version.name)
                model.class_count, model.embedding_dimension = len(facts.labels), facts.embedding_dimension
                model.height, model.width = facts.preprocessing.height, facts.preprocessing.width
        return response

    def hand_over(self) -> None:
        """Let every stream of frames end: the server shuts down, and they can go on elsewhere."""
        for call in self._streams:
            call.hand_over()

    async def _first(self, requests: AsyncIterator[pb.ClassifyFramesRequest]) -> pb.ClassifyFramesRequest | None:
        """Return the first message of a stream; None where it ends before."""
        try:
            async with asyncio.timeout(self._config.max_idle_s):
                return await anext(requests, None)
        except TimeoutError:
            raise SequenceNotActive(f"no config came for {self._config.max_idle_s:g} s") from None

    async def _frame(self, config: pb.FramesConfig, top_k: int, frame: pb.Frame) -> pb.ClassifyFramesResponse:
        with self._models.using(config.model, config.model_version) as model:
            response = pb.ClassifyFramesResponse(model=model.version.name, model_version=model.version.version)
            try:
                with self._way.call(model, 1, None) as call:
                    response.result.CopyFrom(await call.classify(frame.image, top_k))
            except (InvalidRequest, InferenceFailed, Overloaded) as error:
                response.result.error.CopyFrom(error_of(error, f"frame {frame.id}: "))
            return response

    def _count_dropped(self, frames: int) -> None:
        self._way.counts.frames_dropped += frames

    def _check_count(self, count: int) -> None:
        if not 1 <= count <= self._config.max_images:
            raise InvalidRequest(f"images: got {count}, expected 1 to {self._config.max_images}")


def _top_k(asked: int, default: int) -> int:
    if asked < 0:
        raise InvalidRequest(f"top_k: got {asked}, expected 1 or more, or 0 for {default}")
    return asked or default


async def _embedded(call: ImageCall, image: pb.Image, normalize: bool) -> pb.EmbeddedImage:
    prepared = await call.prepare(image)
    outputs = await call.run(prepared.pixels[None])
    (vector,) = outputs[call.model.facts.embedding]
    return pb.EmbeddedImage(vector=normalized(vector) if normalize else vector, info=prepared.info)
