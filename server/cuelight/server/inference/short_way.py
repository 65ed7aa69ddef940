"""The short way through a tiny model: bytes of a request in, bytes of its answer out, and no message in between.

Between two requests of the same client only the tensors' bytes and the id change. A serialized request is

    model name, version | id | the rest of the header | length, bytes of the 1st input | length, bytes of the 2nd ...

so once the ordinary code has accepted a request, a *plan* remembers its header and where its tensors lie. A body with
the same header, the same lengths and any id needs no parsing: its tensors are copied into the bound ones, the model
runs, and the answer is put together from prepared pieces. A header that was not learned, shared memory, typed contents,
classification, tracing: all that takes the ordinary way, which also does all the complaining.

Sources: protobuf's encoding (a field is a tag byte, a length and its bytes, in the order of the field numbers as every
official library writes them); open_inference.proto for the numbers.
"""

import time
from typing import Protocol

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import CuelightError
from cuelight.server.inference.direct_session import Binding, DirectSession
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.tensors import MemoryRegions, decode_inputs, rows_of

__all__ = ["Models", "ShortWay", "Tracing"]

_VERSION_TAG = 0x12
_ID_TAG = 0x1A
_RAW_INPUT_TAG = b"\x3a"
_RAW_OUTPUT_TAG = b"\x32"
_INFER_RESPONSE_TAG = b"\x12"
_LONGEST = 0x7F
"""The longest name, version or id whose length is one byte."""
_MOST_PLANS = 256


class Models(Protocol):
    """Where versions are looked up: the repository."""

    def get(self, name: str, version: str = "") -> ModelVersion:
        """Return a version that serves; raises ModelNotFound or ModelNotReady."""
        ...


class Tracing(Protocol):
    """Whether requests are traced at present."""

    enabled: bool


class _Plan:
    """One header, and what to do with bodies that have it. Offsets count from the end of the header."""

    __slots__ = ("after_id", "binding", "inputs", "lengths", "name", "output_lengths", "rest_bytes", "rows", "session",
                 "until_id", "version", "version_text")  # fmt: skip

    name: str
    version_text: str
    version: ModelVersion
    session: DirectSession
    binding: Binding
    rows: int
    rest_bytes: int
    inputs: list[tuple[memoryview, int, int]]
    lengths: list[tuple[int, int, bytes]]
    until_id: bytes
    after_id: bytes
    output_lengths: list[bytes]


class ShortWay:
    """The short way of one method: ModelInfer, or ModelStreamInfer if `streamed`. Owned by the event loop."""

    def __init__(self, models: Models, tracing: Tracing, regions: MemoryRegions, streamed: bool) -> None:
        self._models = models
        self._tracing = tracing
        self._regions = regions
        self._streamed = streamed
        self._rest_bytes: dict[int, int] = {}
        """Length of a body without its id -> length of the header after the id."""
        self._plans: dict[bytes, _Plan] = {}

    def answer(self, body: bytes) -> bytes | None:
        """Run the request in `body` and return its serialized answer; None when it has to take the ordinary way.

        A model that fails is left to the ordinary way too, which runs it again and reports.
        """
        size = len(body)
        id_start = _id_start(body, size)
        id_end = id_start
        if id_start + 1 < size and body[id_start] == _ID_TAG:
            if body[id_start + 1] > _LONGEST:
                return None
            id_end += 2 + body[id_start + 1]
            if not body[id_start:id_end].isascii():
                return None  # what is not UTF-8 must be refused, and telling takes longer than parsing
        rest_bytes = self._rest_bytes.get(size - id_end + id_start)
        if rest_bytes is None:
            return None
        header_end = id_end + rest_bytes
        plan = self._plans.get(body[:id_start] + body[id_end:header_end])
        if plan is None or self._tracing.enabled or not self._is_served(plan):
            return None
        for start, end, length in plan.lengths:
            if body[header_end + start : header_end + end] != length:
                return None
        for view, start, end in plan.inputs:
            view[:] = body[header_end + start : header_end + end]
        started_ns = time.perf_counter_ns()
        try:
            plan.session.run_bound(plan.binding)
        except RuntimeError:
            return None
        plan.version.statistics.record_inline(plan.rows, started_ns)
        return self._response(plan, body[id_start:id_end])

    def learn(self, body: bytes, request: pb.ModelInferRequest) -> bool:
        """Remember the header of a parsed request; return whether `answer` can now answer the likes of it."""
        if len(self._plans) >= _MOST_PLANS or len(request.outputs) or len(request.parameters):
            return False
        if not request.raw_input_contents or any(len(tensor.parameters) for tensor in request.inputs):
            return False
        try:
            version = self._models.get(request.model_name, request.model_version)
            if version.direct is None:
                return False
            rows = rows_of(decode_inputs(request, version.signature, self._regions), version.signature)
        except CuelightError:
            return False
        if rows > version.inline_rows or len(request.inputs) != len(version.signature.inputs):
            return False
        return self._remember(body, request, version, version.direct, rows)

    def _remember(
        self, body: bytes, request: pb.ModelInferRequest, version: ModelVersion, session: DirectSession, rows: int
    ) -> bool:
        id_start = _id_start(body, len(body))
        id_end = id_start + (2 + len(request.id.encode()) if request.id else 0)
        raws = [_field(_RAW_INPUT_TAG, raw) for raw in request.raw_input_contents]
        header_end = len(body) - sum(len(raw) for raw in raws)
        bare = pb.ModelInferRequest()
        bare.CopyFrom(request)
        del bare.raw_input_contents[:]
        # Only a body written as the official libraries write it is learned: its parts must be what they are taken for.
        if body != bare.SerializeToString() + b"".join(raws) or id_start > id_end or id_end > header_end:
            return False
        rest_bytes = header_end - id_end
        if self._rest_bytes.setdefault(len(body) - id_end + id_start, rest_bytes) != rest_bytes:
            return False
        plan = _Plan()
        plan.name, plan.version_text, plan.version = request.model_name, request.model_version, version
        plan.session, plan.rows, plan.rest_bytes = session, rows, rest_bytes
        plan.binding = session.bound(rows)
        names = [tensor.name for tensor in request.inputs]
        plan.inputs, plan.lengths = _layout(raws, list(request.raw_input_contents), names, plan.binding)
        plan.until_id, plan.after_id, plan.output_lengths = _pieces(version, plan.binding)
        self._plans[body[:id_start] + body[id_end:header_end]] = plan
        return True

    def _is_served(self, plan: _Plan) -> bool:
        """Whether the plan's version is still the one that serves; a plan that is not is forgotten."""
        try:
            if self._models.get(plan.name, plan.version_text) is plan.version:
                return True
        except CuelightError:
            pass
        for header in [header for header, known in self._plans.items() if known.version is plan.version]:
            del self._plans[header]
        return False

    def _response(self, plan: _Plan, id_field: bytes) -> bytes:
        parts = [plan.until_id, id_field, plan.after_id]
        for length, view in zip(plan.output_lengths, plan.binding.output_views, strict=True):
            parts.append(length)
            parts.append(view.tobytes())
        response = b"".join(parts)
        return _field(_INFER_RESPONSE_TAG, response) if self._streamed else response


def _id_start(body: bytes, size: int) -> int:
    """Return where the id would stand: after the name and, if there is one, the version.

    A name or version of another form than these bytes say leads to a place where no learned header fits.
    """
    position = 2 + body[1] if size > 1 else size
    if position + 1 < size and body[position] == _VERSION_TAG:
        position += 2 + body[position + 1]
    return position


def _layout(
    fields: list[bytes], raws: list[bytes], names: list[str], binding: Binding
) -> tuple[list[tuple[memoryview, int, int]], list[tuple[int, int, bytes]]]:
    """Return where each input's bytes lie, and the tags and lengths that must stand between them."""
    inputs: list[tuple[memoryview, int, int]] = []
    lengths: list[tuple[int, int, bytes]] = []
    offset = 0
    for field, raw, name in zip(fields, raws, names, strict=True):
        start = offset + len(field) - len(raw)
        lengths.append((offset, start, field[: len(field) - len(raw)]))
        inputs.append((binding.input_views[name], start, start + len(raw)))
        offset = start + len(raw)
    return inputs, lengths


def _pieces(version: ModelVersion, binding: Binding) -> tuple[bytes, bytes, list[bytes]]:
    """Return the answer's bytes before the id, those after it, and the tag and length of each output's bytes."""
    named = pb.ModelInferResponse(model_name=version.name, model_version=str(version.version))
    described = pb.ModelInferResponse()
    for name, array in binding.outputs.items():
        described.outputs.add(name=name, datatype=version.signature.outputs[name].datatype.name, shape=array.shape)
    lengths = [_RAW_OUTPUT_TAG + _varint(view.nbytes) for view in binding.output_views]
    return named.SerializeToString(), described.SerializeToString(), lengths


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    if value <= _LONGEST:
        return value.to_bytes(1)
    parts = bytearray()
    while value > _LONGEST:
        parts.append(value & _LONGEST | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
