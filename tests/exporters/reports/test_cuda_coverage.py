"""Which nodes are said to fall back to the CPU on CUDA."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cuelight.exporters.reports.cuda_coverage import CudaCoverage, cuda_coverage
from cuelight.exporters.reports.cuda_kernel_names import kernels_in


def covered(tmp_path: Path, *nodes: onnx.NodeProto, dtype: int = TensorProto.FLOAT) -> CudaCoverage:
    """Return the coverage of a graph from x (batch, 4) to y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, ["batch", 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.UNDEFINED, None)],
    )
    graph.output[0].ClearField("type")
    inferred = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)], ir_version=10
    )
    model = onnx.shape_inference.infer_shapes(inferred)
    onnx.save(model, tmp_path / "m.onnx")
    return cuda_coverage(tmp_path / "m.onnx")


def test_an_operator_with_a_kernel_runs_on_cuda(tmp_path: Path) -> None:
    coverage = covered(tmp_path, helper.make_node("Sigmoid", ["x"], ["y"]))

    assert (coverage.nodes, coverage.cuda_nodes, coverage.fallback) == (1, 1, ())


def test_an_operator_without_a_kernel_is_named(tmp_path: Path) -> None:
    coverage = covered(
        tmp_path, helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Tan", ["s"], ["y"], name="angle")
    )

    ((name, operator, why),) = ((node.node, node.operator, node.why) for node in coverage.fallback)
    assert (name, operator, why) == ("angle", "Tan", "no kernel")
    assert coverage.cuda_nodes == 1


def test_a_type_without_a_kernel_is_named(tmp_path: Path) -> None:
    coverage = covered(tmp_path, helper.make_node("Tanh", ["x"], ["y"]), dtype=TensorProto.FLOAT)
    assert coverage.fallback == ()

    integers = covered(
        tmp_path,
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT32),
        helper.make_node("ReduceSumSquare", ["i"], ["y"]),
    )

    (node,) = integers.fallback
    assert node.operator == "ReduceSumSquare"
    assert node.why == "no kernel for INT32; for FP16, FP32, FP64 there is"


def constant(name: str, values: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values, name))


def test_a_product_of_unsigned_bytes_falls_back_though_its_weights_have_a_kernel(tmp_path: Path) -> None:
    """CUDA multiplies INT8 with INT8 alone; int8-dynamic has activations in UINT8."""
    coverage = covered(
        tmp_path,
        helper.make_node("Cast", ["x"], ["bytes"], to=TensorProto.UINT8),
        constant("w", np.ones((4, 3), np.int8)),
        helper.make_node("MatMulInteger", ["bytes", "w"], ["y"]),
    )

    assert [(node.operator, node.why) for node in coverage.fallback] == [
        ("MatMulInteger", "no kernel for UINT8; for INT8 there is")
    ]


def test_of_where_the_values_decide_and_not_the_condition(tmp_path: Path) -> None:
    coverage = covered(
        tmp_path,
        constant("zero", np.zeros((), np.float32)),
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Where", ["positive", "x", "zero"], ["y"]),
    )

    assert coverage.fallback == ()


def test_an_operator_that_is_not_of_onnx_has_no_kernel_of_its_name(tmp_path: Path) -> None:
    coverage = covered(tmp_path, helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"))

    assert [node.why for node in coverage.fallback] == ["no kernel known: an operator of com.microsoft"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"linear_before_reset": 1}, []),
        ({}, ["attribute linear_before_reset is 0"]),
        ({"linear_before_reset": 1, "clip": 3.0}, ["attribute clip"]),
    ],
)
def test_a_gru_runs_on_cuda_as_pytorch_has_it_and_not_otherwise(
    tmp_path: Path, more: dict[str, Any], why: list[str]
) -> None:
    coverage = covered(
        tmp_path,
        constant("axes", np.zeros(1, np.int64)),
        constant("w", np.full((1, 6, 4), 0.1, np.float32)),
        constant("r", np.full((1, 6, 2), 0.1, np.float32)),
        helper.make_node("Unsqueeze", ["x", "axes"], ["steps"]),
        helper.make_node("GRU", ["steps", "w", "r"], ["y"], hidden_size=2, **more),
    )

    assert [node.why for node in coverage.fallback] == why


def test_an_lstm_with_peepholes_falls_back(tmp_path: Path) -> None:
    coverage = covered(
        tmp_path,
        constant("axes", np.zeros(1, np.int64)),
        constant("w", np.full((1, 8, 4), 0.1, np.float32)),
        constant("r", np.full((1, 8, 2), 0.1, np.float32)),
        constant("p", np.full((1, 6), 0.1, np.float32)),
        helper.make_node("Unsqueeze", ["x", "axes"], ["steps"]),
        helper.make_node("LSTM", ["steps", "w", "r", "", "", "", "", "p"], ["y"], hidden_size=2),
    )

    assert [node.why for node in coverage.fallback] == ["peepholes"]


def test_shape_arithmetic_is_counted_by_itself(tmp_path: Path) -> None:
    coverage = covered(
        tmp_path,
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Neg", ["s"], ["n"]),
        helper.make_node("Abs", ["n"], ["a"]),
        helper.make_node("Reshape", ["x", "a"], ["y"]),
    )

    assert (coverage.shape_nodes, coverage.cuda_nodes, coverage.fallback) == (3, 1, ())


@pytest.mark.parametrize(("activations", "falls"), [(None, False), (["Relu"], True), (["Tanh"], False)])
def test_a_recurrent_layer_with_other_activations_falls_back(
    tmp_path: Path, activations: list[str] | None, falls: bool
) -> None:
    more: dict[str, Any] = {} if activations is None else {"activations": activations}
    coverage = covered(
        tmp_path,
        constant("axes", np.zeros(1, np.int64)),
        constant("w", np.full((1, 2, 4), 0.1, np.float32)),
        constant("r", np.full((1, 2, 2), 0.1, np.float32)),
        helper.make_node("Unsqueeze", ["x", "axes"], ["steps"]),
        helper.make_node("RNN", ["steps", "w", "r"], ["y"], hidden_size=2, **more),
    )

    assert [node.operator for node in coverage.fallback] == (["RNN"] if falls else [])


def test_kernels_are_read_from_the_names_of_their_classes(tmp_path: Path) -> None:
    names = (
        b"\0N11onnxruntime4cuda4LSTMIfEE\0N11onnxruntime4cuda4LSTMINS_9MLFloat16EEE\0N11onnxruntime4cuda8IdentityE\0"
        b"N11onnxruntime4cuda10IdentityOpILb0EEE\0N11onnxruntime7contrib4cuda5RfftfE\0N11onnxruntime4cuda4PoolIfNS_7MaxE\0"
    )
    wheel = tmp_path / "onnxruntime_gpu-1.0-cp311.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("onnxruntime/capi/libonnxruntime_providers_cuda.so", names)

    kernels = kernels_in(wheel)

    assert kernels["LSTM"] == ["FP16", "FP32"]
    assert kernels["Identity"] == []
    assert kernels["MaxPool"] == kernels["AveragePool"] == ["FP32"]
    assert "Tan" not in kernels
