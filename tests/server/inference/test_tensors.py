"""Requests to arrays: every datatype, every way the bytes may come, and every way a request can be wrong."""

import struct
from typing import Any

import numpy as np
import pytest

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.signature import ModelSignature, Padding, TensorSpec
from cuelight.server.inference.tensors import decode_inputs, encode_bytes, rows_of


class OneRegion:
    """A region of shared memory called "region"."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def read(self, name: str, offset: int, byte_size: int) -> memoryview:
        assert name == "region"
        return memoryview(self.data)[offset : offset + byte_size]

    def write(self, name: str, offset: int, data: bytes | memoryview) -> None:
        self.data[offset : offset + len(data)] = data


NO_REGIONS = OneRegion(b"")


def signature(
    datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2), max_batch_size: int = 4, **more: Any
) -> ModelSignature:
    spec = TensorSpec("x", DATATYPES[datatype], shape)
    return ModelSignature({"x": spec}, {"y": spec}, max_batch_size, **more)


def request(
    shape: tuple[int, ...] = (1, 2), raw: bytes | None = None, datatype: str = "FP32", name: str = "x", **contents: Any
) -> pb.ModelInferRequest:
    result = pb.ModelInferRequest(model_name="m")
    tensor = result.inputs.add(name=name, datatype=datatype, shape=shape)
    if contents:
        tensor.contents.MergeFrom(pb.InferTensorContents(**contents))
    if raw is not None:
        result.raw_input_contents.append(raw)
    return result


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name not in ("BYTES", "BF16", "BOOL")])
def test_raw_bytes_are_little_endian_values(datatype: str) -> None:
    dtype = DATATYPES[datatype].dtype
    expected = np.array([[1, 2]], dtype)

    arrays = decode_inputs(request(raw=expected.tobytes(), datatype=datatype), signature(datatype), NO_REGIONS)

    assert arrays["x"].dtype == dtype
    np.testing.assert_array_equal(arrays["x"], expected)


def test_bf16_keeps_its_bits() -> None:
    one_and_minus_two = struct.pack("<HH", 0x3F80, 0xC000)

    arrays = decode_inputs(request(raw=one_and_minus_two, datatype="BF16"), signature("BF16"), NO_REGIONS)

    assert arrays["x"].tolist() == [[0x3F80, 0xC000]]


def test_any_byte_but_zero_is_true() -> None:
    arrays = decode_inputs(request(raw=b"\x00\x07", datatype="BOOL"), signature("BOOL"), NO_REGIONS)

    assert arrays["x"].tolist() == [[False, True]]


def test_bytes_elements_carry_their_length() -> None:
    raw = b"\x03\x00\x00\x00abc" + b"\x00\x00\x00\x00"

    arrays = decode_inputs(request(raw=raw, datatype="BYTES"), signature("BYTES"), NO_REGIONS)

    assert arrays["x"].tolist() == [["abc", ""]]
    assert encode_bytes(arrays["x"]) == raw


@pytest.mark.parametrize(
    ("datatype", "contents", "expected"),
    [
        ("BOOL", {"bool_contents": [True, False]}, [True, False]),
        ("UINT8", {"uint_contents": [1, 255]}, [1, 255]),
        ("UINT32", {"uint_contents": [1, 2**32 - 1]}, [1, 2**32 - 1]),
        ("UINT64", {"uint64_contents": [1, 2**64 - 1]}, [1, 2**64 - 1]),
        ("INT8", {"int_contents": [-128, 127]}, [-128, 127]),
        ("INT16", {"int_contents": [-(2**15), 5]}, [-(2**15), 5]),
        ("INT64", {"int64_contents": [-(2**63), 5]}, [-(2**63), 5]),
        ("FP32", {"fp32_contents": [0.5, -1.0]}, [0.5, -1.0]),
        ("FP64", {"fp64_contents": [0.1, -1.0]}, [0.1, -1.0]),
        ("BYTES", {"bytes_contents": [b"a", b"\xc3\xbc"]}, ["a", "ü"]),
    ],
)
def test_typed_contents_are_taken_as_well(datatype: str, contents: dict[str, Any], expected: list[Any]) -> None:
    arrays = decode_inputs(request(datatype=datatype, **contents), signature(datatype), NO_REGIONS)

    assert arrays["x"].dtype == DATATYPES[datatype].dtype
    assert arrays["x"].tolist() == [expected]


def test_an_input_may_lie_in_shared_memory() -> None:
    values = np.array([[3.0, 4.0]], np.float32)
    asked = request()
    asked.inputs[0].parameters["shared_memory_region"].string_param = "region"
    asked.inputs[0].parameters["shared_memory_byte_size"].int64_param = 8
    asked.inputs[0].parameters["shared_memory_offset"].int64_param = 4

    arrays = decode_inputs(asked, signature(), OneRegion(b"skip" + values.tobytes()))

    np.testing.assert_array_equal(arrays["x"], values)


@pytest.mark.parametrize("byte_size", [0, 7, 9, 1 << 40])
def test_shared_memory_of_another_size_is_refused_before_it_is_read(byte_size: int) -> None:
    asked = request()
    asked.inputs[0].parameters["shared_memory_region"].string_param = "region that may not be read"
    asked.inputs[0].parameters["shared_memory_byte_size"].int64_param = byte_size

    with pytest.raises(InvalidRequest, match=rf'input "x": expected 8 bytes for FP32 \[1,2\], got {byte_size}'):
        decode_inputs(asked, signature(), NO_REGIONS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (request(raw=b"", name="z"), r'input "z": the model has no such input; it takes "x"'),
        (request(raw=bytes(8), datatype="INT64"), r'input "x": expected FP32 \[-1,2\], got INT64 \[1,2\]'),
        (request((2,), bytes(8)), r'input "x": expected FP32 \[-1,2\], got FP32 \[2\]'),
        (request((1, 3), bytes(12)), r'input "x": expected FP32 \[-1,2\], got FP32 \[1,3\]'),
        (request((-1, 2), bytes(8)), r'input "x": expected FP32 \[-1,2\], got FP32 \[-1,2\]'),
        (request((0, 2), b""), r'input "x": expected a batch of 1 to 4 rows, got 0'),
        (request((5, 2), bytes(40)), r'input "x": expected a batch of 1 to 4 rows, got 5'),
        (request(raw=bytes(7)), r'input "x": expected 8 bytes for FP32 \[1,2\], got 7'),
        (request(raw=bytes(8), fp32_contents=[1.0, 2.0]), r'input "x": came with contents and raw_input_contents'),
        (request(fp32_contents=[1.0]), r'input "x": expected 2 values for FP32 \[1,2\], got 1'),
        (request(int_contents=[1, 2]), r'input "x": FP32 values belong in fp32_contents, got int_contents'),
        (pb.ModelInferRequest(), r'input "x": missing; the model needs FP32 \[-1,2\]'),
        (pb.ModelInferRequest(raw_input_contents=[b"12345678"]), r"holds 1 entries for 0 inputs"),
    ],
)
def test_a_wrong_request_names_the_offender(wrong: pb.ModelInferRequest, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        decode_inputs(wrong, signature(), NO_REGIONS)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x03\x00\x00\x00ab", "element 0 claims 3 bytes, 2 bytes are left"),
        (b"\x01\x00\x00\x00a", "expected 2 BYTES elements for shape \\[1,2\\], got 1"),
        (b"\x00\x00\x00\x00" * 3, "4 bytes follow the 2 elements"),
        (b"\x00\x00\x00\x00\x02\x00\x00\x00a\xff", "element 1 is not UTF-8 at byte 1"),
    ],
)
def test_broken_bytes_elements_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        decode_inputs(request(raw=raw, datatype="BYTES"), signature("BYTES"), NO_REGIONS)


def test_an_input_given_twice_is_refused() -> None:
    twice = request(raw=bytes(8))
    twice.inputs.add().CopyFrom(twice.inputs[0])
    twice.raw_input_contents.append(bytes(8))

    with pytest.raises(InvalidRequest, match='input "x": given twice'):
        decode_inputs(twice, signature(), NO_REGIONS)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_has_no_typed_contents(datatype: str) -> None:
    with pytest.raises(InvalidRequest, match="has no typed contents"):
        decode_inputs(request(datatype=datatype, fp32_contents=[1.0, 2.0]), signature(datatype), NO_REGIONS)


@pytest.mark.parametrize(
    ("datatype", "contents", "offender"),
    [
        ("UINT8", {"uint_contents": [1, 256]}, "256"),
        ("UINT8", {"uint_contents": [2**32 - 1, 256]}, "4294967295"),
        ("UINT16", {"uint_contents": [65536, 0]}, "65536"),
        ("INT8", {"int_contents": [-128, -129]}, "-129"),
        ("INT16", {"int_contents": [32768, 0]}, "32768"),
    ],
)
def test_a_value_outside_a_small_integer_type_is_refused(
    datatype: str, contents: dict[str, Any], offender: str
) -> None:
    with pytest.raises(InvalidRequest, match=f'input "x": {offender} is outside {datatype}'):
        decode_inputs(request(datatype=datatype, **contents), signature(datatype), NO_REGIONS)


def test_non_finite_values_are_refused_where_the_model_says_so() -> None:
    raw = np.array([[1.0, np.nan]], np.float32).tobytes()

    assert np.isnan(decode_inputs(request(raw=raw), signature(), NO_REGIONS)["x"][0, 1])
    with pytest.raises(InvalidRequest, match=r"finite values only, got nan at \[0,1\]"):
        decode_inputs(request(raw=raw), signature(reject_nonfinite=True), NO_REGIONS)


def test_inputs_must_agree_on_their_rows() -> None:
    spec = {name: TensorSpec(name, DATATYPES["FP32"], (-1, 2)) for name in ("x", "z")}
    asked = request((1, 2), bytes(8))
    asked.inputs.add(name="z", datatype="FP32", shape=(2, 2))
    asked.raw_input_contents.append(bytes(16))

    with pytest.raises(InvalidRequest, match='input "z": 2 batch rows, but input "x" has 1'):
        decode_inputs(asked, ModelSignature(spec, {}, 4), NO_REGIONS)


def test_the_length_input_of_a_padded_model_need_not_be_sent() -> None:
    inputs = {
        "x": TensorSpec("x", DATATYPES["FP32"], (-1, -1)),
        "lengths": TensorSpec("lengths", DATATYPES["INT64"], (-1,)),
    }
    padded = ModelSignature(inputs, {}, 4, padding=(Padding("x", 1, "lengths"),))

    arrays = decode_inputs(request((1, 3), bytes(12)), padded, NO_REGIONS)

    assert list(arrays) == ["x"]
    assert rows_of(arrays, padded) == 1
