"""A transducer that says what a table tells it, as NumPy and as the three ONNX files that sherpa-onnx runs.

The encoder ignores its audio: its state counts frames, and frame k of a stream is row k of the table. So both sides see
the same frames whatever their features are.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CHUNK_FRAMES = 4
FEATURES_A_FRAME = 4
CONTEXT = 2
SYMBOLS = ("<blk>", "<unk>", "一", "二", "三", "四", "五", "六")
UNKNOWN = 1

Floats = NDArray[np.float32]
Constants = dict[str, NDArray[np.float32] | NDArray[np.int64]]
Shapes = dict[str, list[str | int]]
Metadata = dict[str, str | int]


@dataclass(frozen=True)
class ScriptedTransducer:
    """`table` (frames, vocab) is added to what the last symbols say: `embedding` (vocab + 1, vocab), -1 first."""

    table: Floats
    embedding: Floats

    @classmethod
    def random(cls, frames: int, seed: int, blank: float = 1.5) -> "ScriptedTransducer":
        rng = np.random.default_rng(seed)
        table = rng.normal(0, 2.0, (frames, len(SYMBOLS))).astype(np.float32)
        table[:, 0] += np.float32(blank)
        return cls(table, rng.normal(0, 1.0, (len(SYMBOLS) + 1, len(SYMBOLS))).astype(np.float32))

    def decoder(self, y: NDArray[np.int64]) -> Floats:
        older, newer = self.embedding[y[:, 0] + 1], self.embedding[y[:, 1] + 1]
        return np.asarray(np.float32(0.5) * older + newer, np.float32)

    def joiner(self, encoder_out: Floats, decoder_out: Floats) -> Floats:
        return encoder_out + decoder_out

    def save(self, folder: Path) -> None:
        """Write encoder, decoder and joiner .onnx and tokens.txt, of sherpa-onnx's LSTM family."""
        onnx.save(self._encoder(), folder / "encoder.onnx")
        onnx.save(self._decoder(), folder / "decoder.onnx")
        onnx.save(_joiner(), folder / "joiner.onnx")
        lines = (f"{symbol} {id_}\n" for id_, symbol in enumerate(SYMBOLS))
        (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")

    def _encoder(self) -> onnx.ModelProto:
        window = CHUNK_FRAMES * FEATURES_A_FRAME
        nodes = [
            helper.make_node("Cast", ["h"], ["count"], to=TensorProto.INT64),
            helper.make_node("Squeeze", ["count", "first_axis"], ["row"]),
            helper.make_node("Add", ["row", "offsets"], ["rows"]),
            helper.make_node("Gather", ["table", "rows"], ["encoder_out"]),
            helper.make_node("Add", ["h", "step"], ["next_h"]),
            helper.make_node("Identity", ["c"], ["next_c"]),
        ]
        constants: Constants = {
            "first_axis": np.array([0], np.int64),
            "offsets": np.arange(CHUNK_FRAMES),
            "table": self.table,
            "step": np.array(CHUNK_FRAMES, np.float32),
        }
        metadata: Metadata = {
            "model_type": "lstm",
            "num_encoder_layers": 1,
            "T": window,
            "decode_chunk_len": window,
            "rnn_hidden_size": 1,
            "d_model": 1,
        }
        inputs: Shapes = {"x": ["N", window, 80], "h": [1, "N", 1], "c": [1, "N", 1]}
        outputs: Shapes = {
            "encoder_out": ["N", CHUNK_FRAMES, len(SYMBOLS)],
            "next_h": [1, "N", 1],
            "next_c": [1, "N", 1],
        }
        return _model(nodes, constants, inputs, outputs, metadata)

    def _decoder(self) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Add", ["y", "one"], ["rows"]),
            helper.make_node("Gather", ["embedding", "rows"], ["each"]),
            helper.make_node("Mul", ["each", "weights"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "middle_axis"], ["decoder_out"], keepdims=0),
        ]
        constants: Constants = {
            "one": np.array(1, np.int64),
            "embedding": self.embedding,
            "weights": np.array([[0.5], [1.0]], np.float32),
            "middle_axis": np.array([1], np.int64),
        }
        metadata: Metadata = {"vocab_size": len(SYMBOLS), "context_size": CONTEXT}
        outputs: Shapes = {"decoder_out": ["N", len(SYMBOLS)]}
        return _model(nodes, constants, {"y": ["N", CONTEXT]}, outputs, metadata, TensorProto.INT64)


def _joiner() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["encoder_out", "decoder_out"], ["logit"])]
    shape: list[str | int] = ["N", len(SYMBOLS)]
    inputs = {"encoder_out": shape, "decoder_out": shape}
    return _model(nodes, {}, inputs, {"logit": shape}, {"joiner_dim": len(SYMBOLS)})


def _model(
    nodes: list[onnx.NodeProto],
    constants: Constants,
    inputs: Shapes,
    outputs: Shapes,
    metadata: Metadata,
    input_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "scripted",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    return model
