"""Tensors to a model and back: a thin layer that the helpers stand on.

For tensor inference from Python in general, use tritonclient: it speaks to a Cuelight server unchanged.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.client._open_inference import SERVICE, message
from cuelight.client.channel import Channel
from cuelight.client.errors import InvalidRequest

__all__ = ["InferenceClient", "TensorFacts", "outputs_of", "request_of"]

Arrays = Mapping[str, NDArray[Any]]

_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float32": "FP32",
    "float64": "FP64",
    "object": "BYTES",
}
"""`bfloat16` is that of the package ml_dtypes; numpy has none."""
_TEXT_KINDS = ("U", "S")
_DTYPES = {datatype: np.dtype(name) for name, datatype in _DATATYPES.items() if datatype != "BF16"}


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor that a model takes: `datatype` as on the wire, -1 in `shape` for a free size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """What numpy has for it; for BF16, of which numpy has none, FP32."""
        return np.dtype(np.float32) if self.datatype == "BF16" else _DTYPES[self.datatype]

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} [{','.join(map(str, self.shape))}]"


class InferenceClient:
    """Calls on one channel. Holds nothing of its own, so many may share a channel."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def infer(self, model: str, inputs: Arrays, *, version: str = "", timeout_s: float | None = None) -> dict[str, Any]:
        """Run a model once and return its outputs by name. Inputs are arrays, or what numpy makes one of.

        Raises: InvalidRequest, NotFound, Overloaded, Unavailable, DeadlineExceeded, ServerError.
        """
        response = self._call("ModelInfer", request_of(model, version, inputs, ""), "ModelInferResponse", timeout_s)
        return outputs_of(response)

    def stream(self, model: str, steps: Iterable[Arrays], *, version: str = "") -> Iterator[dict[str, Any]]:
        """Run a model on one input after another over one stream and yield the outputs in order.

        Raises: InvalidRequest for a step that the server could not run; otherwise as `infer`.
        """
        requests = (request_of(model, version, inputs, "") for inputs in steps)
        path = f"/{SERVICE}/ModelStreamInfer"
        for response in self.channel.stream(path, requests, message("ModelStreamInferResponse")):
            if response.error_message:
                raise InvalidRequest(response.error_message)
            yield outputs_of(response.infer_response)

    def is_ready(self, model: str | None = None, version: str = "") -> bool:
        """Return whether the server, or one model on it, serves."""
        if model is None:
            return bool(self._call("ServerReady", message("ServerReadyRequest")(), "ServerReadyResponse").ready)
        request = message("ModelReadyRequest")(name=model, version=version)
        return bool(self._call("ModelReady", request, "ModelReadyResponse").ready)

    def inputs_of(self, model: str, version: str = "") -> list[TensorFacts]:
        """Return what the model takes, in its order. Raises: NotFound when there is no such model."""
        request = message("ModelMetadataRequest")(name=model, version=version)
        told = self._call("ModelMetadata", request, "ModelMetadataResponse")
        return [TensorFacts(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in told.inputs]

    def describe(self, model: str, version: str = "") -> dict[str, str]:
        """Return what the model says of itself: its `cuelight.*` keys, without the prefix.

        Raises: NotFound when there is no such model.
        """
        request = message("ModelConfigRequest")(name=model, version=version)
        parameters = self._call("ModelConfig", request, "ModelConfigResponse").config.parameters
        prefix = "cuelight."
        return {
            key.removeprefix(prefix): value.string_value for key, value in parameters.items() if key.startswith(prefix)
        }

    def described(self, model: str, key: str, version: str = "") -> Any:
        """Return one key of `describe`, parsed as JSON.

        Raises: InvalidRequest when the model does not say it.
        """
        said = self.describe(model, version)
        if key not in said:
            raise InvalidRequest(f'model "{model}" does not tell its {key}; export it with cuelight.{key}')
        return json.loads(said[key])

    def _call(self, name: str, request: Any, response: str, timeout_s: float | None = None) -> Any:
        return self.channel.call(f"/{SERVICE}/{name}", request, message(response), timeout_s)


def request_of(model: str, version: str, inputs: Arrays, request_id: str) -> Any:
    """Return the message that asks for one run; raises InvalidRequest for an array without a datatype on the wire."""
    request = message("ModelInferRequest")(model_name=model, model_version=version, id=request_id)
    for name, given in inputs.items():
        array = np.asarray(given)
        datatype = "BYTES" if array.dtype.kind in _TEXT_KINDS else _DATATYPES.get(array.dtype.name)
        if datatype is None:
            raise InvalidRequest(f'input "{name}": {array.dtype} has no datatype on the wire')
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(_raw(array, datatype))
    return request


def outputs_of(response: Any) -> dict[str, Any]:
    """Return a response's outputs as arrays by name."""
    return {
        tensor.name: _array(raw, tensor.datatype, tuple(tensor.shape))
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def _raw(array: NDArray[Any], datatype: str) -> bytes:
    if datatype != "BYTES":
        # The wire is little-endian; an array need not be.
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    elements = [item.encode() if isinstance(item, str) else bytes(item) for item in array.reshape(-1).tolist()]
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _array(raw: bytes, datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if datatype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if datatype != "BYTES":
        return np.frombuffer(raw, _DTYPES[datatype]).reshape(shape)
    elements: list[bytes] = []
    offset = 0
    while offset < len(raw):
        (length,) = struct.unpack_from("<I", raw, offset)
        elements.append(raw[offset + 4 : offset + 4 + length])
        offset += 4 + length
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)
