"""The short way of one stream: tiny models at once, and the steps of one sequence without a parser, one after another.

Most streams are one live sequence that sends a step and waits for its answer. So as long as a stream's messages are
steps of one sequence (or requests that `ShortWay` answers), they are answered here, in order, each before the next one
is read: no reader, no window, no generator. A step whose bytes differ from the last one's in the tensors and the id
alone is not even parsed. The first message that is anything else is left to ModelStreamInfer, for the rest of the
stream: several sequences on one stream must be read ahead, or they would wait for each other.
"""

import asyncio
import math
from collections.abc import Awaitable
from typing import Protocol

from google.protobuf.message import DecodeError

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import CuelightError
from cuelight.server.inference.message_parts import (
    RequestParts,
    answer_pieces,
    id_end_of,
    id_start_of,
    parts_of,
)
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.quick_steps import AnswerPieces, QuickStep, QuickStepFailed
from cuelight.server.inference.sequence_batch import StepResult
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from cuelight.server.inference.sequence_parameters import sequence_id_in
from cuelight.server.inference.sequences import Owner, Sequence
from cuelight.server.inference.short_way import ShortWay, Tracing
from cuelight.server.rpc.context import RpcContext

__all__ = ["Stepping", "StreamWay"]


class Stepping(Protocol):
    """The ordinary way of a step, for what the short way does not know: the servicer."""

    def begin_step(
        self, request: pb.ModelInferRequest, context: RpcContext, owner: Owner
    ) -> "tuple[ModelVersion, asyncio.Future[StepResult]]":
        """Queue the step; raises CuelightError."""
        ...

    def is_stateful(self, request: pb.ModelInferRequest) -> bool:
        """Whether the request's model keeps sequences."""
        ...

    def step_answer(self, request: pb.ModelInferRequest, version: ModelVersion, result: StepResult) -> bytes:
        """Return the serialized answer."""
        ...

    def step_error(self, request: pb.ModelInferRequest, context: RpcContext, error: Exception) -> bytes:
        """Return the serialized answer to a step that failed."""
        ...


class _StepPlan:
    """What the steps of one sequence have in common, and how they are answered."""

    __slots__ = ("parts", "pieces", "request", "sequence", "sequences")

    def __init__(
        self, parts: RequestParts, pieces: AnswerPieces, request: pb.ModelInferRequest, sequence: Sequence
    ) -> None:
        self.parts = parts
        self.pieces = pieces
        self.request = request
        self.sequence = sequence
        self.sequences: SequenceBatcher = sequence.home


class StreamWay:
    """One stream's short way. Owned by the call's task; `interrupt` is called by whoever ends the server."""

    __slots__ = (
        "_context",
        "_loop",
        "_owner",
        "_plan",
        "_short",
        "_stepped",
        "_steps",
        "_task",
        "_tracing",
        "over",
        "waiting",
    )

    def __init__(self, short: ShortWay, steps: Stepping, tracing: Tracing, owner: Owner, context: RpcContext) -> None:
        self._short = short
        self._steps = steps
        self._tracing = tracing
        self._owner = owner
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._plan: _StepPlan | None = None
        self._stepped: tuple[str, int | str] | None = None
        self._task = asyncio.current_task()
        self.over = False
        """Whether to read no further."""
        self.waiting = False
        """Whether the call waits for its next message."""

    def answer(self, body: bytes) -> "bytes | Awaitable[bytes] | None":
        """Return the serialized answer, or what will be it; None when ModelStreamInfer has to go on from here."""
        if self._plan is not None:
            future = self._planned(self._plan, body)
            if future is not None:
                return self._planned_answer(body, future)
        elif self._stepped is None and (answer := self._short.answer(body)) is not None:
            return answer
        return self._parsed(body)

    def interrupt(self) -> None:
        """Read no further; a call that waits for its next message waits no longer."""
        self.over = True
        if self.waiting and self._task is not None:
            self._task.cancel()

    def _planned(self, plan: _StepPlan, body: bytes) -> "asyncio.Future[bytes] | None":
        """Queue the step if it is like the ones before it; None if it has to be parsed."""
        size, parts = len(body), plan.parts
        id_start = id_start_of(body, size)
        id_end = id_end_of(body, id_start, size)
        if id_end is None or size - id_end + id_start != parts.size or self._tracing.enabled:
            return None
        header_end = id_end + parts.rest_bytes
        if body[:id_start] + body[id_end:header_end] != parts.header:
            return None
        for start, end, length in parts.lengths:
            if body[header_end + start : header_end + end] != length:
                return None
        future = self._loop.create_future()
        id_field = body[id_start:id_end]
        step = QuickStep(plan.sequence, parts, plan.pieces, body, header_end, id_field, future)
        return future if plan.sequences.push(step) else None

    async def _planned_answer(self, body: bytes, future: "asyncio.Future[bytes]") -> bytes:
        try:
            return await future
        except QuickStepFailed:
            return await self._step(body, pb.ModelInferRequest.FromString(body))

    def _parsed(self, body: bytes) -> "bytes | Awaitable[bytes] | None":
        self._plan = None
        if self._tracing.enabled:
            return None
        try:
            request = pb.ModelInferRequest.FromString(body)
        except DecodeError:
            return None
        try:
            if not self._steps.is_stateful(request):
                learned = self._stepped is None and self._short.learn(body, request)
                return self._short.answer(body) if learned else None
            sequence_id = sequence_id_in(request)
        except CuelightError:
            return None
        key = (request.model_name, sequence_id or 0)
        if self._stepped not in (None, key):
            return None
        self._stepped = key
        return self._step(body, request)

    async def _step(self, body: bytes, request: pb.ModelInferRequest) -> bytes:
        """Take a step the ordinary way, and learn from it how to take the next ones."""
        try:
            version, future = self._steps.begin_step(request, self._context, self._owner)
            result = await future
            answer = self._steps.step_answer(request, version, result)
        except Exception as error:
            # The boundary of a step, as in ModelStreamInfer.
            return self._steps.step_error(request, self._context, error)
        self._learn(body, request, version)
        return answer

    def _learn(self, body: bytes, request: pb.ModelInferRequest, version: ModelVersion) -> None:
        sequence_id, signature = sequence_id_in(request), version.signature
        if version.sequences is None or sequence_id is None or len(request.parameters) != 1 or len(request.outputs):
            return
        if self._context.deadline() is not None or len(request.raw_input_contents) != len(request.inputs):
            return
        sequence, parts = version.sequences.get(sequence_id), parts_of(body, request)
        if sequence is None or parts is None or any(len(one.parameters) for one in request.inputs):
            return
        if version.sequences.takes_bytes(sequence) and len(request.inputs) == len(signature.inputs):
            self._plan = _StepPlan(parts, _pieces_of(version), request, sequence)


def _pieces_of(version: ModelVersion) -> AnswerPieces:
    """Return what the answers to one row have in common."""
    outputs = version.signature.outputs
    shapes = {name: (1, *spec.shape[1:]) for name, spec in outputs.items()}
    sizes = {name: math.prod(shape) * outputs[name].datatype.itemsize for name, shape in shapes.items()}
    datatypes = {name: spec.datatype.name for name, spec in outputs.items()}
    until_id, after_id, lengths = answer_pieces(version.name, version.version, datatypes, shapes, sizes)
    return until_id, after_id, list(zip(shapes, lengths, strict=True))
