"""Tiny ONNX models, made in code, whose answers are a formula."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

__all__ = ["write_doubling_model"]

_OPSET = 17
_IR_VERSION = 8


def write_doubling_model(
    repository: Path,
    name: str = "doubling",
    *,
    version: int = 1,
    factor: float = 2.0,
    golden_factor: float | None = None,
) -> Path:
    """Write a model with y = factor * x, FP32 [batch, 3], and its golden vectors; return the version's folder.

    `golden_factor` other than `factor` makes golden vectors that the model does not agree with.
    """
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        initializer=[helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.save(model, folder / "model.onnx")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y = x * np.float32(factor if golden_factor is None else golden_factor)
    tolerance = {"atol": np.float64(1e-6), "rtol": np.float64(1e-6)}
    np.savez(folder / "golden.npz", **{"0/inputs/x": x, "0/outputs/y": y, **tolerance})  # type: ignore[arg-type]
    return folder
