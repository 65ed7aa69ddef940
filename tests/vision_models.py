"""Classifiers of images whose answers follow from a formula, for tests.

`colors` sees 8 x 8 pixels of 0 to 1, or with `takes_bytes` of 0 to 255 with the channels last, which it scales itself.
Its last feature map is the picture itself, so

    embedding = mean of each channel      logit of channel c = 10 * embedding[c] + c      map of c = 10 * channel c
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.scale_models import write_version

SIZE = 8
WEIGHT = 10.0
LABELS = ("red", "green", "blue")
COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "gray": (128, 128, 128)}

PREPROCESSING: dict[str, Any] = {
    "kind": "image",
    "layout": "NCHW",
    "color": "RGB",
    "resize": {"short_side": SIZE, "interpolation": "box"},
    "crop": [SIZE, SIZE],
    "scale": 1 / 255,
}
BYTES_PREPROCESSING: dict[str, Any] = {
    **{key: value for key, value in PREPROCESSING.items() if key != "scale"},
    "datatype": "UINT8",
    "layout": "NHWC",
}

Tail = Literal["gemm", "gemm_plain", "matmul", "no_bias", "pooled", "softmax", "unpooled", "scaled"]
CHANNELS = len(LABELS)


def metadata(**changes: str | None) -> dict[str, str]:
    """Return the metadata of `colors`, with keys (without prefix) changed, or left out for None."""
    said = {
        "task": "image_classification",
        "labels": json.dumps(LABELS),
        "preprocessing": json.dumps(PREPROCESSING),
        "max_batch_size": "8",
        "embedding": "embedding",
    }
    return {f"cuelight.{key}": value for key, value in {**said, **changes}.items() if value is not None}


def colors(
    tail: Tail = "gemm",
    said: Mapping[str, str] | None = None,
    batch: int | str = "batch",
    size: int = SIZE,
    takes_bytes: bool = False,
) -> onnx.ModelProto:
    """Return the model, ending in one of the ways that frameworks write a linear layer."""
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, CHANNELS, size, size])
    first = [helper.make_node("Relu", ["image"], ["features"])]
    nodes, constants = _pooling(tail, size)
    if takes_bytes:
        taken = helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, size, size, CHANNELS])
        first = _scaling()
        constants["brightest"] = np.array(255, np.float32)
    tail_nodes, tail_constants = _linear(tail)
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CHANNELS])]
    if tail != "unpooled":
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, CHANNELS]))
    graph = helper.make_graph(
        [*first, *nodes, *tail_nodes],
        "colors",
        [taken],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in {**constants, **tail_constants}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    how = json.dumps(BYTES_PREPROCESSING if takes_bytes else PREPROCESSING)
    embedding = None if tail == "unpooled" else "embedding"
    made = metadata(embedding=embedding, preprocessing=how) if said is None else said
    helper.set_model_props(model, dict(made))
    return model


def write_colors(repository: Path, name: str = "colors", version: int = 1, **options: Any) -> Path:
    """Put `colors` into a repository and return its folder."""
    return write_version(repository, name, version, colors(**options))


def encoded(picture: NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture as a file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(color: str, height: int = 16, width: int = 16) -> NDArray[np.uint8]:
    """Return a picture of one colour."""
    return np.full((height, width, 3), COLORS[color], np.uint8)


def photo(color: str) -> bytes:
    """Return a picture of one colour as a PNG file."""
    return encoded(plain(color))


def _scaling() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Transpose", ["image"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["channels_first"], ["exact"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["exact", "brightest"], ["features"]),
    ]


def _pooling(tail: Tail, size: int) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    if tail == "unpooled":
        flat = helper.make_node("Flatten", ["features"], ["flat"])
        spread = np.repeat(np.eye(CHANNELS, dtype=np.float32), size * size, axis=0) / (size * size)
        return [flat, helper.make_node("MatMul", ["flat", "spread"], ["embedding"])], {"spread": spread}
    if tail == "pooled":
        nodes = [
            helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["embedding"]),
        ]
        return nodes, {}
    axes = {"axes": np.array([-1, -2] if tail == "matmul" else [2, 3])}
    return [helper.make_node("ReduceMean", ["features", "axes"], ["embedding"], keepdims=0)], axes


def _linear(tail: Tail) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    weight = np.eye(CHANNELS, dtype=np.float32) * np.float32(WEIGHT)
    bias = np.arange(CHANNELS, dtype=np.float32)
    known = {"weight": weight, "bias": bias}
    inputs = ["embedding", "weight", "bias"]
    if tail == "matmul":
        product = helper.make_node("MatMul", ["embedding", "weight"], ["product"])
        return [product, helper.make_node("Add", ["bias", "product"], ["logits"])], known
    if tail == "no_bias":
        return [helper.make_node("MatMul", ["embedding", "weight"], ["logits"])], {"weight": weight}
    if tail == "softmax":
        linear = helper.make_node("Gemm", inputs, ["raw"], transB=1)
        return [linear, helper.make_node("Softmax", ["raw"], ["logits"])], known
    options: dict[str, Any] = {"gemm_plain": {}, "scaled": {"alpha": 2.0}}.get(tail, {"transB": 1})
    return [helper.make_node("Gemm", inputs, ["logits"], **options)], known
