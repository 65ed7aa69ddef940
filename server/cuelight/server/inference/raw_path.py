"""The short way through a tiny model: the request's bytes into the bound tensors, the bound tensors' bytes out.

Between two requests of the same client only the raw bytes and the id change. So the header of an input (its name,
datatype and shape, as serialized) is checked once by the ordinary code and remembered; a request whose headers are all
known needs no more than its byte counts checked, and its answer starts from a prepared message. Whatever is not that
plain (typed contents, shared memory, classification, chosen outputs, a header not seen before) takes the ordinary way,
which also does all the complaining.
"""

import time
from collections.abc import Callable, Sequence

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InferenceFailed
from cuelight.server.inference.direct_session import DirectSession
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.statistics import VersionStatistics

__all__ = ["RawPath"]

_MOST_KNOWN_HEADERS = 256


class RawPath:
    """One version's short way. Owned by the event loop."""

    def __init__(
        self,
        name: str,
        version: int,
        signature: ModelSignature,
        session: DirectSession,
        statistics: VersionStatistics,
        most_rows: int,
        failure: Callable[[Exception], InferenceFailed],
    ) -> None:
        self._name = name
        self._version = version
        self._signature = signature
        self._session = session
        self._statistics = statistics
        self._most_rows = most_rows
        self._failure = failure
        self._input_count = len(signature.inputs)
        self._known: dict[bytes, tuple[str, int, int]] = {}
        self._unary: dict[int, bytes] = {}
        self._streamed: dict[int, bytes] = {}

    @staticmethod
    def fits(signature: ModelSignature) -> bool:
        """Whether raw bytes need no other check than their number."""
        plain = all(spec.datatype.name != "BOOL" for spec in signature.inputs.values())
        return plain and not signature.reject_nonfinite

    def answer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse | None:
        """Run the request and return its answer; None when it has to take the ordinary way.

        Raises: InferenceFailed when the model fails on it.
        """
        rows = self._run(request)
        if not rows:
            return None
        template = self._unary.get(rows)
        if template is None:
            template = self._unary[rows] = self._template(rows).SerializeToString()
        response = pb.ModelInferResponse.FromString(template)
        self._fill(response, request, rows)
        return response

    def stream_answer(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse | None:
        """As `answer`, for a stream."""
        rows = self._run(request)
        if not rows:
            return None
        template = self._streamed.get(rows)
        if template is None:
            wrapped = pb.ModelStreamInferResponse(infer_response=self._template(rows))
            template = self._streamed[rows] = wrapped.SerializeToString()
        answer = pb.ModelStreamInferResponse.FromString(template)
        self._fill(answer.infer_response, request, rows)
        return answer

    def remember(self, request: pb.ModelInferRequest) -> None:
        """Remember the headers of a request that the ordinary way has accepted."""
        if len(request.raw_input_contents) != self._input_count or len(self._known) >= _MOST_KNOWN_HEADERS:
            return
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            if not len(tensor.parameters):
                rows = tensor.shape[0] if self._signature.batches else 1
                self._known[tensor.SerializeToString()] = (tensor.name, rows, len(raw))

    def _run(self, request: pb.ModelInferRequest) -> int:
        """Run a plain request and return its number of rows; 0 when it is not that plain."""
        raws = request.raw_input_contents
        tensors = request.inputs
        if len(tensors) != self._input_count or len(raws) != self._input_count:
            return 0
        if len(request.outputs) or len(request.parameters):
            return 0
        given = self._checked(tensors, raws)
        if given is None:
            return 0
        rows = given[0][2]
        started_ns = time.perf_counter_ns()
        try:
            self._session.run_raw(given, rows)
        except RuntimeError as error:
            raise self._failure(error) from error
        self._statistics.record_inline(rows, started_ns)
        return rows

    def _checked(
        self, tensors: Sequence[pb.ModelInferRequest.InferInputTensor], raws: Sequence[bytes]
    ) -> list[tuple[str, bytes, int]] | None:
        """Return (input, bytes, rows) of each tensor where all are known and agree."""
        given: list[tuple[str, bytes, int]] = []
        for index in range(self._input_count):
            known = self._known.get(tensors[index].SerializeToString())
            if known is None:
                return None
            name, rows, byte_count = known
            raw = raws[index]
            if len(raw) != byte_count or rows > self._most_rows or (given and rows != given[0][2]):
                return None
            given.append((name, raw, rows))
        if self._input_count > 1 and len({name for name, _, _ in given}) != self._input_count:
            return None
        return given

    def _fill(self, response: pb.ModelInferResponse, request: pb.ModelInferRequest, rows: int) -> None:
        if request.id:
            response.id = request.id
        response.raw_output_contents.extend(self._session.raw_outputs(rows))

    def _template(self, rows: int) -> pb.ModelInferResponse:
        response = pb.ModelInferResponse(model_name=self._name, model_version=str(self._version))
        for name, spec in self._signature.outputs.items():
            shape = (rows, *spec.shape[1:]) if self._signature.batches else spec.shape
            response.outputs.add(name=name, datatype=spec.datatype.name, shape=shape)
        return response
