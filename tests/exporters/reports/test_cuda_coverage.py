"""Which nodes are said to fall back to the CPU on CUDA."""

import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

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
    inferred = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
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
    def constant(name: str, *shape: int) -> onnx.NodeProto:
        size = 1
        for dimension in shape:
            size *= dimension
        tensor = helper.make_tensor(name, TensorProto.FLOAT, shape, [0.1] * size)
        return helper.make_node("Constant", [], [name], value=tensor)

    more: dict[str, Any] = {} if activations is None else {"activations": activations}
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[0])
    coverage = covered(
        tmp_path,
        axes,
        constant("w", 1, 2, 4),
        constant("r", 1, 2, 2),
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
