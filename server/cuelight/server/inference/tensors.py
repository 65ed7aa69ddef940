"""Tensors of the Open Inference Protocol to NumPy and back, with every check a request must pass.

An input's bytes come in one of three ways: one entry of `raw_input_contents` per input, in order; typed values in
`contents`; or a region of shared memory named by the parameters `shared_memory_region`, `shared_memory_byte_size` and
`shared_memory_offset`. Arrays from raw bytes are read-only views of them, no copy.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.datatypes import Datatype
from cuelight.server.inference.signature import WILDCARD, ModelSignature, TensorSpec

__all__ = ["MemoryRegions", "decode_bytes", "decode_inputs", "encode_bytes", "rows_of"]

Arrays = dict[str, NDArray[Any]]

_LENGTH = struct.Struct("<I")


class MemoryRegions(Protocol):
    """Registered shared memory, addressed by region name, byte offset and byte size."""

    def read(self, name: str, offset: int, byte_size: int) -> memoryview:
        """Return the bytes; raises InvalidRequest or NotFound naming the region."""
        ...

    def write(self, name: str, offset: int, data: bytes | memoryview) -> None:
        """Write the bytes; raises InvalidRequest or NotFound naming the region."""
        ...


def decode_inputs(request: pb.ModelInferRequest, signature: ModelSignature, regions: MemoryRegions) -> Arrays:
    """Return the request's inputs as arrays, checked against the signature.

    Raises: InvalidRequest naming the tensor, what was expected and what came; NotFound for an unknown memory region.
    """
    raw = request.raw_input_contents
    raw_count = len(raw)
    raw_index = 0
    arrays: Arrays = {}
    for tensor in request.inputs:
        spec = _spec_of(tensor, signature, arrays)
        shape = tuple(tensor.shape)
        _check_shape(spec, shape, signature.max_batch_size)
        if len(tensor.parameters) and "shared_memory_region" in tensor.parameters:
            array = _from_region(tensor, spec, shape, regions)
        elif raw_count:
            if raw_index == raw_count:
                raise InvalidRequest(f'input "{spec.name}": raw_input_contents holds {raw_count} entries, too few')
            if tensor.HasField("contents"):
                raise InvalidRequest(f'input "{spec.name}": came with contents and raw_input_contents; send only one')
            array = _from_raw(raw[raw_index], spec, shape)
            raw_index += 1
        else:
            array = _from_contents(tensor.contents, spec, shape)
        arrays[spec.name] = array
    if raw_index != raw_count:
        raise InvalidRequest(f"raw_input_contents holds {raw_count} entries for {raw_index} inputs that need one")
    if len(arrays) != len(signature.inputs):
        _check_present(arrays, signature)
    if len(arrays) > 1 and signature.batches:
        _check_rows(arrays)
    if signature.reject_nonfinite:
        _check_finite(arrays)
    return arrays


def rows_of(arrays: Arrays, signature: ModelSignature) -> int:
    """Return the number of batch rows of a request; 1 for a model without a batch axis."""
    return next(iter(arrays.values())).shape[0] if arrays and signature.batches else 1


def decode_bytes(data: bytes | memoryview, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the elements of a raw BYTES tensor as str: each is preceded by its length, 4 bytes, little-endian.

    Raises: InvalidRequest when the lengths do not add up, the number of elements is not that of `shape`, or an element
    is not UTF-8.
    """
    count = math.prod(shape)
    array = np.empty(count, dtype=object)
    offset = 0
    size = len(data)
    for index in range(count):
        if offset + 4 > size:
            raise InvalidRequest(
                f'input "{name}": expected {count} BYTES elements for shape {_text(shape)}, got {index}'
            )
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += 4
        if length > size - offset:
            raise InvalidRequest(
                f'input "{name}": element {index} claims {length} bytes, {size - offset} bytes are left'
            )
        array[index] = _text_of(bytes(data[offset : offset + length]), name, index)
        offset += length
    if offset != size:
        raise InvalidRequest(f'input "{name}": {size - offset} bytes follow the {count} elements of {_text(shape)}')
    return array.reshape(shape)


def encode_bytes(array: NDArray[Any]) -> bytes:
    """Return a BYTES tensor's elements, each str as UTF-8, each preceded by its length (4 bytes, little-endian)."""
    parts: list[bytes] = []
    for element in array.reshape(-1).tolist():
        data = element.encode() if isinstance(element, str) else bytes(element)
        parts.append(_LENGTH.pack(len(data)))
        parts.append(data)
    return b"".join(parts)


def _spec_of(tensor: Any, signature: ModelSignature, arrays: Arrays) -> TensorSpec:
    name = tensor.name
    spec = signature.inputs.get(name)
    if spec is None:
        known = ", ".join(f'"{known}"' for known in signature.inputs)
        raise InvalidRequest(f'input "{name}": the model has no such input; it takes {known}')
    if name in arrays:
        raise InvalidRequest(f'input "{name}": given twice')
    if tensor.datatype != spec.datatype.name:
        raise InvalidRequest(
            f'input "{name}": expected {spec.describe()}, got {tensor.datatype or "no datatype"} {_text(tensor.shape)}'
        )
    return spec


def _check_shape(spec: TensorSpec, shape: tuple[int, ...], max_batch_size: int) -> None:
    expected = spec.shape
    if len(shape) != len(expected):
        raise _shape_error(spec, shape)
    for size, allowed in zip(shape, expected, strict=True):
        if size < 0 or allowed not in (size, WILDCARD):
            raise _shape_error(spec, shape)
    if max_batch_size and not 0 < shape[0] <= max_batch_size:
        raise InvalidRequest(
            f'input "{spec.name}": expected a batch of 1 to {max_batch_size} rows, got {shape[0]} ({_text(shape)})'
        )


def _shape_error(spec: TensorSpec, shape: Sequence[int]) -> InvalidRequest:
    return InvalidRequest(f'input "{spec.name}": expected {spec.describe()}, got {spec.datatype.name} {_text(shape)}')


def _from_raw(data: bytes | memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    datatype = spec.datatype
    if not datatype.itemsize:
        return decode_bytes(data, spec.name, shape)
    _check_size(len(data), spec, shape)
    if datatype.name == "BOOL":
        # Any byte but 0 is true; a NumPy bool made of another byte than 0 or 1 misbehaves in comparisons.
        truths: NDArray[np.bool_] = np.frombuffer(data, np.uint8) != 0
        return truths.reshape(shape)
    return np.frombuffer(data, datatype.dtype).reshape(shape)


def _check_size(byte_size: int, spec: TensorSpec, shape: tuple[int, ...]) -> None:
    """Raise InvalidRequest where so many bytes are not those of the shape; BYTES may have any number."""
    expected = math.prod(shape) * spec.datatype.itemsize
    if spec.datatype.itemsize and byte_size != expected:
        raise InvalidRequest(
            f'input "{spec.name}": expected {expected} bytes for {spec.datatype.name} {_text(shape)}, got {byte_size}'
        )


def _from_region(tensor: Any, spec: TensorSpec, shape: tuple[int, ...], regions: MemoryRegions) -> NDArray[Any]:
    parameters = tensor.parameters
    region = parameters["shared_memory_region"].string_param
    byte_size = parameters["shared_memory_byte_size"].int64_param if "shared_memory_byte_size" in parameters else 0
    offset = parameters["shared_memory_offset"].int64_param if "shared_memory_offset" in parameters else 0
    _check_size(byte_size, spec, shape)  # before they are read: a region may be larger than this machine's memory
    # Copied: the caller may write the next request into the region while this one waits.
    return _from_raw(bytes(regions.read(region, offset, byte_size)), spec, shape)


def _from_contents(contents: Any, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    datatype = spec.datatype
    if datatype.typed_field is None:
        raise InvalidRequest(f'input "{spec.name}": {datatype.name} has no typed contents; send raw_input_contents')
    values = getattr(contents, datatype.typed_field)
    for field, _ in contents.ListFields():
        if field.name != datatype.typed_field:
            raise InvalidRequest(
                f'input "{spec.name}": {datatype.name} values belong in {datatype.typed_field}, got {field.name}'
            )
    count = math.prod(shape)
    if len(values) != count:
        raise InvalidRequest(
            f'input "{spec.name}": expected {count} values for {datatype.name} {_text(shape)}, got {len(values)}'
        )
    return _typed_array(values, spec.name, datatype).reshape(shape)


def _typed_array(values: Any, name: str, datatype: Datatype) -> NDArray[Any]:
    if datatype.name == "BYTES":
        array = np.empty(len(values), dtype=object)
        array[:] = [_text_of(value, name, index) for index, value in enumerate(values)]
        return array
    if datatype.dtype.kind in "iu" and datatype.itemsize < 4:
        return _narrowed(np.fromiter(values, np.int64, len(values)), name, datatype)
    return np.fromiter(values, datatype.dtype, len(values))


def _narrowed(values: NDArray[np.int64], name: str, datatype: Datatype) -> NDArray[Any]:
    limits = np.iinfo(datatype.dtype)
    outside = (values < limits.min) | (values > limits.max)
    if outside.any():
        raise InvalidRequest(f'input "{name}": {values[outside.argmax()]} is outside {datatype.name}')
    return values.astype(datatype.dtype)


def _text_of(element: bytes, name: str, index: int) -> str:
    """Return an element as ONNX Runtime's Python interface takes it; strings of other bytes do not get through it."""
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f'input "{name}": element {index} is not UTF-8 at byte {error.start}') from error


def _check_present(arrays: Arrays, signature: ModelSignature) -> None:
    filled = {padding.length_input for padding in signature.padding}
    for name, spec in signature.inputs.items():
        if name not in arrays and not spec.optional and name not in filled:
            raise InvalidRequest(f'input "{name}": missing; the model needs {spec.describe()}')


def _check_rows(arrays: Arrays) -> None:
    (first, array), *others = arrays.items()
    for name, other in others:
        if other.shape[0] != array.shape[0]:
            raise InvalidRequest(
                f'input "{name}": {other.shape[0]} batch rows, but input "{first}" has {array.shape[0]}'
            )


def _check_finite(arrays: Arrays) -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            index = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
            raise InvalidRequest(
                f'input "{name}": the model takes finite values only, got {array[index]} at {_text(index)}'
            )


def _text(shape: Sequence[Any]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"
