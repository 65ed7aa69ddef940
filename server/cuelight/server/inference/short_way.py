"""The short way through a tiny model: bytes of a request in, bytes of its answer out, and no message in between.

Once the ordinary code has accepted a request, a *plan* remembers its header and where its tensors lie. A body with
the same header, the same lengths and any id needs no parsing: its tensors are copied into the bound ones, the model
runs, and the answer is put together from prepared pieces. A header that was not learned, shared memory, typed contents,
classification, tracing: all that takes the ordinary way, which also does all the complaining. How requests lie in bytes
is in message_parts.py.
"""

import time
from typing import Protocol

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import CuelightError
from cuelight.server.inference.direct_session import Binding, DirectSession
from cuelight.server.inference.message_parts import (
    answer_pieces,
    as_stream_response,
    id_end_of,
    id_start_of,
    parts_of,
)
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.tensors import MemoryRegions, decode_inputs, rows_of

__all__ = ["Models", "ShortWay", "Tracing"]

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
        id_start = id_start_of(body, size)
        id_end = id_end_of(body, id_start, size)
        if id_end is None:
            return None
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
        parts = parts_of(body, request)
        if parts is None or self._rest_bytes.setdefault(parts.size, parts.rest_bytes) != parts.rest_bytes:
            return False
        plan = _Plan()
        plan.name, plan.version_text, plan.version = request.model_name, request.model_version, version
        plan.session, plan.rows, plan.rest_bytes = session, rows, parts.rest_bytes
        plan.binding = session.bound(rows)
        plan.inputs = [(plan.binding.input_views[name], start, end) for name, start, end in parts.inputs]
        plan.lengths = parts.lengths
        outputs, views = plan.binding.outputs, plan.binding.output_views
        shapes = {name: array.shape for name, array in outputs.items()}
        datatypes = {name: version.signature.outputs[name].datatype.name for name in outputs}
        sizes = {name: view.nbytes for name, view in zip(outputs, views, strict=True)}
        plan.until_id, plan.after_id, plan.output_lengths = answer_pieces(
            version.name, version.version, datatypes, shapes, sizes
        )
        self._plans[parts.header] = plan
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
        return as_stream_response(response) if self._streamed else response
