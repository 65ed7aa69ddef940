"""ModelInfer and ModelStreamInfer: from a request to the model and back.

A request is *begun* (looked up, decoded, checked, run or queued), which never waits, and *finished* (encoded) once its
outputs are there. A unary call does both. A stream answers in the order of its requests: while every answer is there at
once (an inline model), it simply alternates; from the first request that has to queue on, a reader task begins up to
`max_stream_in_flight` requests ahead, so that a stream alone can fill a batch. A request that fails on a stream is
answered with `error_message`, and the stream goes on.

A step of a sequence goes the same way, to the model's `SequenceBatcher`. Sequences begun on a stream end with it. When
the server shuts down, a stream whose sequences can go on elsewhere is read no further, is answered what it has sent,
and ends with a token for each of them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from collections.abc import Sequence as Items
from contextlib import contextmanager
from typing import Any, Protocol

from numpy.typing import NDArray

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import ShuttingDown
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.responses import check_requested_outputs, encode_response
from cuelight.server.inference.sequence_batch import StepResult
from cuelight.server.inference.sequence_parameters import sequence_id_in
from cuelight.server.inference.sequence_steps import SequenceSteps
from cuelight.server.inference.sequences import Owner, SequenceId
from cuelight.server.inference.short_way import ShortWay
from cuelight.server.inference.stream_way import StreamWay
from cuelight.server.inference.tensors import MemoryRegions, decode_inputs, rows_of
from cuelight.server.inference.tracer import Tracer
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.failures import failed_call

__all__ = ["InferenceServicer", "Models"]

Arrays = dict[str, NDArray[Any]]

_STREAM_PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


class Models(Protocol):
    """Where versions are looked up: the repository."""

    def get(self, name: str, version: str = "") -> ModelVersion:
        """Return a version that serves; raises ModelNotFound or ModelNotReady."""
        ...

    @property
    def leaving(self) -> Mapping[str, Items[ModelVersion]]:
        """Versions that serve no more and still hold sequences, by model."""
        ...

    def holding(self, name: str, version: str, sequence_id: SequenceId) -> ModelVersion | None:
        """Return the leaving version that holds this sequence, if there is one."""
        ...

    def maker(self, name: str, digest: str) -> ModelVersion | None:
        """Return the version that serves the file of this digest, if there is one."""
        ...


class _Stream:
    """One call of ModelStreamInfer: the sequences it has begun, and what reads it."""

    __slots__ = ("handing_over", "owner", "reader", "way")

    def __init__(self) -> None:
        self.owner = Owner()
        self.way: StreamWay | None = None
        self.reader: asyncio.Task[None] | None = None
        self.handing_over = False


class InferenceServicer:
    """The two RPCs that run models. Owns the open streams, to tell them of the end; lives on the event loop."""

    def __init__(
        self,
        models: Models,
        regions: MemoryRegions,
        tracer: Tracer,
        steps: SequenceSteps,
        max_stream_in_flight: int = 64,
    ) -> None:
        self._models = models
        self._regions = regions
        self._steps = steps
        self._streams: set[_Stream] = set()
        self._tracer = tracer
        self._streamed_short_way = ShortWay(models, tracer, regions, streamed=True)
        self._max_stream_in_flight = max_stream_in_flight

    def short_way(self, streamed: bool) -> ShortWay:
        """Return the short way past ModelInfer, or past ModelStreamInfer if `streamed`."""
        return ShortWay(self._models, self._tracer, self._regions, streamed)

    @contextmanager
    def stream_way(self, context: RpcContext) -> Iterator[StreamWay]:
        """Yield the short way of a call of ModelStreamInfer, which goes on with what was begun on it."""
        context.attachment = stream = _Stream()
        stream.way = StreamWay(self._streamed_short_way, self, self._tracer, stream.owner, context)
        self._streams.add(stream)
        try:
            yield stream.way
        finally:
            self._close(stream)

    async def ModelInfer(self, request: pb.ModelInferRequest, context: RpcContext) -> pb.ModelInferResponse:
        """Run one request; see the proto for its errors."""
        version = self._version(request)
        trace = self._tracer.begin(version.name, version.version, request.id) if self._tracer.enabled else None
        try:
            outputs = self._begin(version, request, context, None)
            if isinstance(outputs, asyncio.Future):
                outputs = await outputs
            response = pb.ModelInferResponse()
            self._encode(response, request, version, outputs)
            return response
        finally:
            if trace is not None:
                self._tracer.end(trace)

    async def ModelStreamInfer(
        self, requests: AsyncIterator[pb.ModelInferRequest], context: RpcContext
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """Run a stream of requests, in order; see the proto for its errors."""
        stream = context.attachment if isinstance(context.attachment, _Stream) else _Stream()
        stream.way = None
        self._streams.add(stream)
        try:
            if stream.handing_over:
                async for response in self._handed_over(stream):
                    yield response
            async for request in requests:
                begun = self._begin_on_stream(request, context, stream.owner)
                if isinstance(begun, pb.ModelStreamInferResponse):
                    yield begun
                    continue
                pipelined = self._pipelined(request, begun, requests, context, stream)
                try:
                    async for response in pipelined:
                        yield response
                finally:
                    await pipelined.aclose()
                return
        finally:
            self._close(stream)

    def hand_over(self) -> None:
        """Let every stream end whose sequences can all go on elsewhere: the server shuts down."""
        for stream in self._streams:
            sequences = stream.owner.sequences
            if not sequences or not all(sequence.resumable for sequence in sequences):
                continue
            stream.handing_over = True
            if stream.way is not None:
                stream.way.interrupt()
            elif stream.reader is not None:
                stream.reader.cancel()

    def is_stateful(self, request: pb.ModelInferRequest) -> bool:
        """Whether the request's model keeps sequences; see `Stepping`."""
        return self._version(request).sequences is not None

    def begin_step(
        self, request: pb.ModelInferRequest, context: RpcContext, owner: Owner
    ) -> "tuple[ModelVersion, asyncio.Future[StepResult]]":
        """Queue a step; see `Stepping`."""
        version = self._version(request)
        if len(request.outputs):
            check_requested_outputs(request, version.signature)
        return version, self._steps.begin(version, request, owner, context.deadline())

    def step_answer(self, request: pb.ModelInferRequest, version: ModelVersion, result: StepResult) -> bytes:
        """Return the serialized answer to a step; see `Stepping`."""
        return self._stream_response(request, version, result).SerializeToString()

    def step_error(self, request: pb.ModelInferRequest, context: RpcContext, error: Exception) -> bytes:
        """Return the serialized answer to a step that failed; see `Stepping`."""
        return _stream_error(request, context, error).SerializeToString()

    def _close(self, stream: _Stream) -> None:
        self._streams.discard(stream)
        for sequence in list(stream.owner.sequences):
            sequence.home.release(sequence)

    def _version(self, request: pb.ModelInferRequest) -> ModelVersion:
        if request.model_name in self._models.leaving:
            sequence_id = sequence_id_in(request)
            starts = "sequence_start" in request.parameters and request.parameters["sequence_start"].bool_param
            if sequence_id is not None and not starts:
                held = self._models.holding(request.model_name, request.model_version, sequence_id)
                if held is not None:
                    return held
        return self._models.get(request.model_name, request.model_version)

    def _begin(
        self, version: ModelVersion, request: pb.ModelInferRequest, context: RpcContext, owner: Owner | None
    ) -> Any:
        """Return the outputs of the request or the future of them."""
        signature = version.signature
        if len(request.outputs):
            check_requested_outputs(request, signature)
        if version.sequences is not None:
            return self._steps.begin(version, request, owner, context.deadline())
        inputs = decode_inputs(request, signature, self._regions)
        rows = rows_of(inputs, signature)
        if rows <= version.inline_rows:
            return version.run_inline(inputs, rows)
        priority, timeout_s = _queue_parameters(request)
        return version.submit(inputs, rows, deadline_s=context.deadline(), timeout_s=timeout_s, priority=priority)

    def _begin_on_stream(
        self, request: pb.ModelInferRequest, context: RpcContext, owner: Owner
    ) -> "pb.ModelStreamInferResponse | tuple[ModelVersion, asyncio.Future[Any]]":
        """Return the answer where it is there at once, else what it will be made of."""
        trace = pending = None
        try:
            version = self._version(request)
            if self._tracer.enabled:
                trace = self._tracer.begin(version.name, version.version, request.id)
            outputs = self._begin(version, request, context, owner)
            if isinstance(outputs, asyncio.Future):
                pending = outputs
                return version, outputs
            return self._stream_response(request, version, outputs)
        except Exception as error:
            # The batch boundary of a stream: a bad request is answered, and the stream lives on.
            return _stream_error(request, context, error)
        finally:
            if trace is not None:
                self._tracer.end_with(trace, pending)

    async def _pipelined(
        self,
        request: pb.ModelInferRequest,
        begun: "tuple[ModelVersion, asyncio.Future[Any]]",
        requests: AsyncIterator[pb.ModelInferRequest],
        context: RpcContext,
        stream: _Stream,
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        window: asyncio.Queue[Any] = asyncio.Queue()
        room = asyncio.Semaphore(self._max_stream_in_flight)
        window.put_nowait((request, begun))
        reader = stream.reader = asyncio.create_task(self._read_ahead(requests, context, window, room, stream.owner))
        pending = begun[1]
        try:
            while (item := await window.get()) is not None:
                room.release()
                request, begun_or_answer = item
                if isinstance(begun_or_answer, pb.ModelStreamInferResponse):
                    yield begun_or_answer
                    continue
                version, pending = begun_or_answer
                yield await self._finish_on_stream(request, version, pending, context)
            if stream.handing_over:
                async for response in self._handed_over(stream):
                    yield response
            await reader
        finally:
            reader.cancel()
            pending.cancel()
            _withdraw(window)

    async def _handed_over(self, stream: _Stream) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Yield a token for each of the stream's sequences. Raises: ShuttingDown after the last one."""
        for sequence in list(stream.owner.sequences):
            version: ModelVersion = sequence.home.version
            state = (await sequence.home.export(sequence.id, stream.owner)).state
            yield self._steps.hand_over(version, sequence, state)
        raise ShuttingDown("the server is shutting down; its sequences go on from their tokens elsewhere")

    async def _read_ahead(
        self,
        requests: AsyncIterator[pb.ModelInferRequest],
        context: RpcContext,
        window: "asyncio.Queue[Any]",
        room: asyncio.Semaphore,
        owner: Owner,
    ) -> None:
        try:
            await room.acquire()
            async for request in requests:
                window.put_nowait((request, self._begin_on_stream(request, context, owner)))
                await room.acquire()
        finally:
            window.put_nowait(None)

    async def _finish_on_stream(
        self,
        request: pb.ModelInferRequest,
        version: ModelVersion,
        outputs: "asyncio.Future[Any]",
        context: RpcContext,
    ) -> pb.ModelStreamInferResponse:
        try:
            return self._stream_response(request, version, await outputs)
        except Exception as error:
            # As in _begin_on_stream.
            return _stream_error(request, context, error)

    def _stream_response(
        self, request: pb.ModelInferRequest, version: ModelVersion, outputs: Arrays | StepResult
    ) -> pb.ModelStreamInferResponse:
        answer = pb.ModelStreamInferResponse()
        response = answer.infer_response
        self._encode(response, request, version, outputs)
        # Looked for before it is looked at: a map makes what it is asked for.
        final = "triton_enable_empty_final_response"
        if final in request.parameters and request.parameters[final].bool_param:
            response.parameters["triton_final_response"].bool_param = True
        return answer

    def _encode(
        self,
        response: pb.ModelInferResponse,
        request: pb.ModelInferRequest,
        version: ModelVersion,
        outputs: Arrays | StepResult,
    ) -> None:
        response.model_name = version.name
        response.model_version = str(version.version)
        response.id = request.id
        if isinstance(outputs, StepResult):
            encode_response(response, request, outputs.outputs, version.signature, self._regions)
            self._steps.add_token(response, request, version, outputs)
        else:
            encode_response(response, request, outputs, version.signature, self._regions)


def _queue_parameters(request: pb.ModelInferRequest) -> tuple[int, float]:
    """Return the request's priority level (0: the default) and queue time-out in seconds (0: the model's)."""
    parameters = request.parameters
    if not len(parameters):
        return 0, 0.0
    priority = 0
    if "priority" in parameters:
        parameter = parameters["priority"]
        priority = parameter.uint64_param or parameter.int64_param
    timeout_us = parameters["timeout"].int64_param if "timeout" in parameters else 0
    return priority, max(timeout_us, 0) / 1e6


def _stream_error(request: pb.ModelInferRequest, context: RpcContext, error: Exception) -> pb.ModelStreamInferResponse:
    status = failed_call(_STREAM_PATH, context, error)
    answer = pb.ModelStreamInferResponse(error_message=status.message)
    answer.infer_response.parameters["status"].string_param = status.code.name
    answer.infer_response.id = request.id
    answer.infer_response.model_name = request.model_name
    return answer


def _withdraw(window: "asyncio.Queue[Any]") -> None:
    """Cancel what the stream still has in the model's queue: its caller is gone."""
    while not window.empty():
        item = window.get_nowait()
        if item is not None and isinstance(item[1], tuple):
            item[1][1].cancel()
