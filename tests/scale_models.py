"""ONNX models of one node, and model repositories made of them: enough to tell versions apart by their answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

Arrays = dict[str, NDArray[Any]]
Dims = Sequence[int | str | None]

BATCH_OF_FOUR: Dims = ("batch", 4)


def scale_model(
    factor: float,
    dims: Dims = BATCH_OF_FOUR,
    elem_type: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Return a model that takes `x` and gives `y = x * factor`, both of shape `dims`."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", elem_type, list(dims))],
        [helper.make_tensor_value_info("y", elem_type, list(dims))],
        [helper.make_tensor("factor", elem_type, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(metadata or {}))
    return model


def golden(factor: float, rows: int = 2, atol: float = 1e-6, rtol: float = 1e-6) -> dict[str, Any]:
    """Return golden vectors of one case for `scale_model(factor)`."""
    x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    return {"0/inputs/x": x, "0/outputs/y": x * np.float32(factor), "atol": atol, "rtol": rtol}


def write_version(
    repository: Path,
    name: str,
    version: int,
    model: onnx.ModelProto | bytes,
    vectors: Mapping[str, Any] | None = None,
) -> Path:
    """Write a version as a careful publisher does, each file moved into place whole; return its folder."""
    folder = repository / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    if vectors is not None:
        np.savez(folder / ".golden.npz", **vectors)
        (folder / ".golden.npz").replace(folder / "golden.npz")
    content = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / ".model.onnx").write_bytes(content)
    (folder / ".model.onnx").replace(folder / "model.onnx")
    return folder


def ones(rows: int = 1) -> Arrays:
    """Return a request of ones for `scale_model`: the answer is the factor."""
    return {"x": np.ones((rows, 4), np.float32)}


def rows_of_five_model() -> onnx.ModelProto:
    """Return a model that takes `x` [batch, size], size a multiple of 5, and gives `y` [batch, size / 5, 5]."""
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "rows_of_five",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "size"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "fifth", 5])],
        [helper.make_tensor("shape", TensorProto.INT64, [3], [0, -1, 5])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
