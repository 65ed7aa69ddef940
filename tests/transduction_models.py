"""An encoder-decoder pair whose answers are known: it copies its source in capitals, and each token sees its letter."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["CERTAINTY", "LETTERS", "MAX_SOURCE_TOKENS", "MAX_TOKENS", "PADDING", "log_probability_of", "write_copycat"]

LETTERS = "abcdefgh"
MAX_SOURCE_TOKENS, MAX_TOKENS = 20, 12
CERTAINTY = 0.9
"""The probability of the copied token; the others share what is left."""

_END = "</s>"
_TARGET = [_END, *LETTERS.upper(), "<s>"]
_OTHERS = (1 - CERTAINTY) / (len(_TARGET) - 1)
_FACTS = {
    "decoder": "decoder.onnx",
    "source_vocabulary": "source.txt",
    "source_unit": "character",
    "source_end": _END,
    "lowercase": True,
    "max_source_tokens": MAX_SOURCE_TOKENS,
    "target_vocabulary": "target.txt",
    "start": "<s>",
    "end": _END,
    "joiner": "-",
    "max_tokens": MAX_TOKENS,
}
PADDING: Sequence[Mapping[str, object]] = [
    {"input": "source", "axis": 1, "length_input": "length", "outputs": [{"output": "memory", "axis": 1}]},
]


def log_probability_of(text: str) -> float:
    """Return that of the copy of a text, the end included."""
    return (len(text) + 1) * math.log(CERTAINTY)


def write_copycat(
    repository: Path,
    name: str = "copycat",
    version: int = 1,
    padding: Sequence[Mapping[str, object]] = PADDING,
    **changes: object,
) -> Path:
    """Write the model and return the version's folder; `changes` are made to what it says of itself."""
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    (folder / "source.txt").write_text("\n".join([_END, *LETTERS]) + "\n", encoding="utf-8")
    (folder / "target.txt").write_text("\n".join(_TARGET) + "\n", encoding="utf-8")
    onnx.save(_encoder(changes, padding), folder / "model.onnx")
    onnx.save(_decoder(), folder / "decoder.onnx")
    return folder


def _encoder(changes: Mapping[str, object], padding: Sequence[Mapping[str, object]]) -> onnx.ModelProto:
    """`memory` is the source as numbers, `place` where the decoder reads first."""
    nodes = [
        helper.make_node("Cast", ["source"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "second"], ["memory"]),
        helper.make_node("Cast", ["length"], ["lengths"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["lengths", "first"], ["column"]),
        helper.make_node("Mul", ["column", "zero"], ["place"]),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [_value("source", TensorProto.INT64, "letters"), _value("length", TensorProto.INT64)],
        [_value("memory", TensorProto.FLOAT, "letters", 1), _value("place", TensorProto.FLOAT, 1)],
        [
            numpy_helper.from_array(np.array([2], np.int64), "second"),
            numpy_helper.from_array(np.array([1], np.int64), "first"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
        ],
    )
    said = {
        "cuelight.task": "transduction",
        "cuelight.max_batch_size": "16",
        "cuelight.padding": json.dumps(list(padding)),
        "cuelight.transduction": json.dumps({**_FACTS, **changes}),
    }
    return _model(graph, said)


def _decoder() -> onnx.ModelProto:
    """Each step looks at its place, takes the letter there and moves on."""
    nodes = [
        helper.make_node("Cast", ["place"], ["places"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["places", "first"], ["at"]),
        helper.make_node("Shape", ["memory"], ["letters"], start=1, end=2),
        helper.make_node("OneHot", ["at", "letters", "off_on"], ["attention"], axis=1),
        helper.make_node("Squeeze", ["memory", "second"], ["numbers"]),
        helper.make_node("Mul", ["numbers", "attention"], ["looked"]),
        helper.make_node("ReduceSum", ["looked", "first"], ["letter"], keepdims=0),
        helper.make_node("Cast", ["letter"], ["copied"], to=TensorProto.INT64),
        helper.make_node("OneHot", ["copied", "tokens", "unlikely_likely"], ["log_probs"], axis=1),
        helper.make_node("Add", ["place", "one"], ["place_next"]),
    ]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            _value("token", TensorProto.INT64),
            _value("place", TensorProto.FLOAT, 1),
            _value("memory", TensorProto.FLOAT, "letters", 1),
        ],
        [
            _value("log_probs", TensorProto.FLOAT, len(_TARGET)),
            _value("place_next", TensorProto.FLOAT, 1),
            _value("attention", TensorProto.FLOAT, "letters"),
        ],
        [
            numpy_helper.from_array(np.array([1], np.int64), "first"),
            numpy_helper.from_array(np.array([2], np.int64), "second"),
            numpy_helper.from_array(np.array([0, 1], np.float32), "off_on"),
            numpy_helper.from_array(np.array([len(_TARGET)], np.int64), "tokens"),
            numpy_helper.from_array(np.log(np.array([_OTHERS, CERTAINTY], np.float32)), "unlikely_likely"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
        ],
    )
    return _model(graph, {"cuelight.state": '[{"input": "place", "output": "place_next"}]'})


def _value(name: str, kind: int, *sizes: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *sizes])


def _model(graph: onnx.GraphProto, said: Mapping[str, str]) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, dict(said))
    onnx.checker.check_model(model, full_check=True)
    return model
