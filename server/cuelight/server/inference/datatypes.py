"""The datatypes of the Open Inference Protocol, and what each is in NumPy and in ONNX.

BF16 has no NumPy type: its arrays are uint16 holding the bits, everywhere in the server.
Source: Open Inference Protocol v2, "Tensor Data Types"; onnx.proto3, TensorProto.DataType.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["DATATYPES", "DATATYPE_OF_ORT_TYPE", "Datatype"]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype. `itemsize` is in bytes, 0 for BYTES; `typed_field` is its field of InferTensorContents, if any."""

    name: str
    dtype: np.dtype
    itemsize: int
    ort_type: str
    onnx_number: int
    typed_field: str | None


def _fixed(name: str, numpy_name: str, ort_name: str, onnx_number: int, typed_field: str | None) -> Datatype:
    dtype = np.dtype(numpy_name)
    return Datatype(name, dtype, dtype.itemsize, f"tensor({ort_name})", onnx_number, typed_field)


DATATYPES: dict[str, Datatype] = {
    datatype.name: datatype
    for datatype in (
        _fixed("BOOL", "?", "bool", 9, "bool_contents"),
        _fixed("UINT8", "<u1", "uint8", 2, "uint_contents"),
        _fixed("UINT16", "<u2", "uint16", 4, "uint_contents"),
        _fixed("UINT32", "<u4", "uint32", 12, "uint_contents"),
        _fixed("UINT64", "<u8", "uint64", 13, "uint64_contents"),
        _fixed("INT8", "<i1", "int8", 3, "int_contents"),
        _fixed("INT16", "<i2", "int16", 5, "int_contents"),
        _fixed("INT32", "<i4", "int32", 6, "int_contents"),
        _fixed("INT64", "<i8", "int64", 7, "int64_contents"),
        _fixed("FP16", "<f2", "float16", 10, None),
        _fixed("BF16", "<u2", "bfloat16", 16, None),
        _fixed("FP32", "<f4", "float", 1, "fp32_contents"),
        _fixed("FP64", "<f8", "double", 11, "fp64_contents"),
        Datatype("BYTES", np.dtype(object), 0, "tensor(string)", 8, "bytes_contents"),
    )
}

DATATYPE_OF_ORT_TYPE: dict[str, Datatype] = {datatype.ort_type: datatype for datatype in DATATYPES.values()}
"""Keys are ONNX Runtime's type strings, such as `tensor(float)`."""
