"""Outputs of a model to a ModelInferResponse: raw bytes, shared memory, or the top classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.signature import ModelSignature, TensorSpec
from cuelight.server.inference.tensors import MemoryRegions, encode_bytes

__all__ = ["check_requested_outputs", "encode_response", "top_classes"]

Arrays = dict[str, NDArray[Any]]


def check_requested_outputs(request: pb.ModelInferRequest, signature: ModelSignature) -> None:
    """Check the names in `request.outputs` before any compute is spent.

    Raises: InvalidRequest naming the output and those the model has, or the one that is asked for twice: a message has
    room for millions of names, each answered by a whole tensor.
    """
    asked: set[str] = set()
    for requested in request.outputs:
        name = requested.name
        if name not in signature.outputs:
            known = ", ".join(f'"{known}"' for known in signature.outputs)
            raise InvalidRequest(f'output "{name}": the model has no such output; it gives {known}')
        if name in asked:
            raise InvalidRequest(f'output "{name}": asked for twice')
        asked.add(name)


def encode_response(
    response: pb.ModelInferResponse,
    request: pb.ModelInferRequest,
    outputs: Arrays,
    signature: ModelSignature,
    regions: MemoryRegions,
) -> None:
    """Add the outputs to `response`: those requested, in that order, or all in the model's order.

    Raises: InvalidRequest for a classification count below 1 or a shared memory region that is too small.
    """
    if len(request.outputs):
        for requested in request.outputs:
            array, spec = outputs[requested.name], signature.outputs[requested.name]
            if len(requested.parameters):
                _add_with_parameters(response, requested, array, spec, signature, regions)
            else:
                _add_raw(response, spec.name, spec.datatype.name, array)
        return
    for name, array in outputs.items():
        _add_raw(response, name, signature.outputs[name].datatype.name, array)


def top_classes(scores: NDArray[Any], count: int, labels: tuple[str, ...]) -> NDArray[Any]:
    """Return the `count` highest of each row as `score:index` or `score:index:label`, best first.

    `scores` is (rows, ...) of any numeric type, each row taken flat; the result is (rows, count) of bytes. Equal
    scores keep the order of their index.
    """
    flat = scores.reshape(scores.shape[0], -1)
    count = min(count, flat.shape[1])
    result = np.empty((flat.shape[0], count), dtype=object)
    for row, values in enumerate(flat):
        for rank, index in enumerate(np.argsort(-values.astype(np.float64), kind="stable")[:count]):
            label = f":{labels[index]}" if index < len(labels) else ""
            result[row, rank] = f"{values[index]:f}:{index}{label}".encode()
    return result


def _add_with_parameters(
    response: pb.ModelInferResponse,
    requested: Any,
    array: NDArray[Any],
    spec: TensorSpec,
    signature: ModelSignature,
    regions: MemoryRegions,
) -> None:
    parameters = requested.parameters
    datatype = spec.datatype.name
    if "classification" in parameters and parameters["classification"].int64_param:
        count = parameters["classification"].int64_param
        if count < 1 or datatype in ("BYTES", "BF16"):
            raise InvalidRequest(f'output "{spec.name}": cannot give {count} classes of {spec.describe()}')
        labels = signature.labels.get(spec.name, ())
        array = top_classes(array if signature.batches else array[np.newaxis], count, labels)
        array, datatype = (array if signature.batches else array[0]), "BYTES"
    if "shared_memory_region" in parameters:
        _add_in_region(response, requested, array, spec, datatype, regions)
    else:
        _add_raw(response, spec.name, datatype, array)


def _add_in_region(
    response: pb.ModelInferResponse,
    requested: Any,
    array: NDArray[Any],
    spec: TensorSpec,
    datatype: str,
    regions: MemoryRegions,
) -> None:
    parameters = requested.parameters
    data = _raw(array, datatype)
    byte_size = parameters["shared_memory_byte_size"].int64_param if "shared_memory_byte_size" in parameters else 0
    offset = parameters["shared_memory_offset"].int64_param if "shared_memory_offset" in parameters else 0
    if len(data) > byte_size:
        raise InvalidRequest(
            f'output "{spec.name}": {len(data)} bytes do not fit into the {byte_size} bytes of shared memory given'
        )
    regions.write(parameters["shared_memory_region"].string_param, offset, data)
    tensor = response.outputs.add(name=spec.name, datatype=datatype, shape=array.shape)
    tensor.parameters["shared_memory_region"].string_param = parameters["shared_memory_region"].string_param
    tensor.parameters["shared_memory_byte_size"].int64_param = len(data)
    tensor.parameters["shared_memory_offset"].int64_param = offset
    # Clients find an output's bytes by its place among the outputs: every output has an entry, this one an empty one.
    response.raw_output_contents.append(b"")


def _add_raw(response: pb.ModelInferResponse, name: str, datatype: str, array: NDArray[Any]) -> None:
    response.outputs.add(name=name, datatype=datatype, shape=array.shape)
    response.raw_output_contents.append(_raw(array, datatype))


def _raw(array: NDArray[Any], datatype: str) -> bytes:
    return encode_bytes(array) if datatype == "BYTES" else array.tobytes()
