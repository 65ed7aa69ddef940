"""Moonshine's weights in graphs of our own: what many live voices need, and the published graphs do not offer.

- `frontend.onnx` hears audio once. Its last convolution is linear, and what stands before it, a normalization over the
  whole window, is a shift and a scale: both can wait. So a window that grows is convolved only where it is new.
- `encoder.onnx` takes those features with the mean and the deviation of the whole window, and gives states.
- `decoder.onnx` steps rows of different lengths together: each row has its own positions and masks. Keys and values of
  the audio are not computed: the query is multiplied by the key matrix, and what is heard by the value matrix, so all
  layers and heads share the states themselves, a twelfth of the memory. The projection is then made once a token
  instead of once a state, which for the few tokens of a step is less.

The matrices stay 8-bit with their published scales, those of queries, keys and values joined. They are signed, which is
a sixth of an encoder run on processors without 8-bit dot products (where sums of two products may saturate: with these
weights that changes states by less than the order of sums does). Only the keys' and values' of cross-attention,
multiplied in another order, are 32-bit floats.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["decoder_graph", "encoder_graph", "frontend_graph"]

HEADS = 8
WIDTH = 288
_HEAD_WIDTH = WIDTH // HEADS
_LAYERS = 6
_ROTATED = 32
_ROTARY_BASE = 10_000
_EPSILON = 1e-5
_MOST_STATES, _MOST_TOKENS = 4096, 1024
_MICROSOFT = "com.microsoft"
_OPSET, _IR_VERSION = 18, 9

Array = NDArray[Any]


class _Published:
    """The weights of a published graph, found by the node that uses them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._values: dict[str, Array] = {}
        self._nodes: dict[str, onnx.NodeProto] = {}
        for graph in _graphs(model.graph):
            self._values |= {value.name: numpy_helper.to_array(value) for value in graph.initializer}
            self._nodes |= {node.name: node for node in graph.node}

    def inputs(self, node: str) -> list[Array]:
        """Return the weights that a node takes, in the order in which it takes them."""
        return [self._values[name] for name in self._nodes[node].input if name in self._values]

    def joined(self, *nodes: str) -> list[Array]:
        """Return matrix, scale and zero point of products that share their left side, column for column."""
        parts = [self.inputs(f"{node}/MatMul_quant") for node in nodes]
        columns = [part[0].shape[1] for part in parts]
        scales = np.concatenate([np.full(count, part[1]) for count, part in zip(columns, parts, strict=True)])
        zeros = np.concatenate([np.full(count, part[2]) for count, part in zip(columns, parts, strict=True)])
        return [np.concatenate([part[0] for part in parts], axis=1), scales, zeros]

    def floats(self, node: str) -> Array:
        """Return the matrix of a product as floats."""
        matrix, scale, zero = self.inputs(f"{node}/MatMul_quant")[:3]
        return (matrix.astype(np.float32) - np.float32(zero)) * scale


class _Graph:
    """A graph under construction; names are numbers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, value: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def shape(self, *sizes: int) -> str:
        return self.constant(np.array(sizes, np.int64))

    def add(self, kind: str, inputs: Sequence[str], domain: str = "", outputs: Sequence[str] = (), **how: Any) -> str:
        names = list(outputs) or [f"v{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **how))
        return names[0]

    def normalized(self, x: str, scale: Array) -> str:
        return self.add("LayerNormalization", [x, self.constant(scale)], axis=-1, epsilon=_EPSILON)

    def product(self, x: str, weights: Sequence[Array], outputs: Sequence[str] = ()) -> str:
        """Multiply by an 8-bit matrix; `weights` are the matrix, its scale, its zero point and perhaps a bias."""
        matrix, scale, zero, *bias = weights
        inputs = [x, *map(self.constant, (_signed(matrix), scale, _signed(zero), *bias))]
        return self.add("DynamicQuantizeMatMul", inputs, _MICROSOFT, outputs)

    def split(self, x: str, count: int) -> list[str]:
        names = [f"v{len(self.nodes)}_{at}" for at in range(count)]
        self.add("Split", [x], outputs=names, axis=-1, num_outputs=count)
        return names

    def rotary(self, most: int) -> tuple[str, str]:
        """Return the tables of cosines and sines (positions, 16)."""
        speeds = 1.0 / _ROTARY_BASE ** (np.arange(0, _ROTATED, 2) / _ROTATED)
        angles = np.arange(most)[:, np.newaxis] * speeds
        return self.constant(np.cos(angles).astype(np.float32)), self.constant(np.sin(angles).astype(np.float32))

    def rotated(self, x: str, positions: str, tables: tuple[str, str]) -> str:
        inputs = [x, positions, *tables]
        return self.add(
            "RotaryEmbedding", inputs, _MICROSOFT, interleaved=1, num_heads=HEADS, rotary_embedding_dim=_ROTATED
        )

    def model(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
            self.weights,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="cuelight")


def frontend_graph(published: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph from `audio` (1, samples) to `features` (1, 576, frames / 3), not yet normalized, and `sums`
    (2, frames): of what is to be normalized, the sum and the sum of squares of each frame of 64 samples."""
    weights, graph = _Published(published), _Graph()
    first, gains = weights.inputs("/conv1/Conv")[0], weights.inputs("/groupnorm/Mul")[0].reshape(-1)
    second = weights.inputs("/conv2/Conv")[0] * gains[np.newaxis, :, np.newaxis]
    audio = graph.add("Unsqueeze", ["audio", graph.shape(1)])
    frames = graph.add("Tanh", [graph.add("Conv", [audio, graph.constant(first)], strides=[64])])
    graph.add("Conv", [frames, graph.constant(second)], outputs=["features"], strides=[3])
    channels = graph.shape(1)
    plain = graph.add("ReduceSum", [frames, channels], keepdims=0)
    squares = graph.add("ReduceSumSquare", [frames, channels], keepdims=0)
    graph.add("Concat", [plain, squares], outputs=["sums"], axis=0)
    kind = TensorProto.FLOAT
    return graph.model(
        "frontend",
        [("audio", kind, [1, "samples"])],
        [("features", kind, [1, 2 * WIDTH, "features"]), ("sums", kind, [2, "frames"])],
    )


def encoder_graph(published: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph from `features` (1, 576, n), `mean` and `deviation` (1,) of the window to `states`
    (1, states, 288) and `keys`, the same with its last axes exchanged."""
    weights, graph = _Published(published), _Graph()
    x = graph.add("Gelu", [_normalized_features(weights, graph)], _MICROSOFT)
    third = [graph.constant(value) for value in weights.inputs("/conv3/Conv")]
    x = graph.add("Gelu", [graph.add("Conv", [x, *third], strides=[2])], _MICROSOFT)
    x = graph.add("Transpose", [x], perm=[0, 2, 1])
    tables, start = graph.rotary(_MOST_STATES), graph.shape(0)
    for layer in range(_LAYERS):
        name = f"/layers.{layer}"
        inner = graph.normalized(x, weights.inputs(f"{name}/input_layernorm/LayerNormalization")[0])
        query, key, value = _self_projected(weights, graph, inner, f"{name}/self_attn")
        rotated = [graph.rotated(one, start, tables) for one in (query, key)]
        heard = graph.add("MultiHeadAttention", [*rotated, value], _MICROSOFT, num_heads=HEADS)
        x = graph.add("Add", [x, graph.product(heard, weights.inputs(f"{name}/self_attn/o_proj/MatMul_quant"))])
        inner = graph.normalized(x, weights.inputs(f"{name}/post_attention_layernorm/LayerNormalization")[0])
        inner = graph.product(inner, weights.inputs(f"{name}/mlp/fc1/MatMul_quant"))
        inner = graph.add("Gelu", [inner], _MICROSOFT)
        x = graph.add("Add", [x, graph.product(inner, weights.inputs(f"{name}/mlp/fc2/MatMul_quant"))])
    last = graph.constant(weights.inputs("SkipLayerNormalization")[0])
    graph.add("LayerNormalization", [x, last], outputs=["states"], axis=-1, epsilon=_EPSILON)
    graph.add("Transpose", ["states"], outputs=["keys"], perm=[0, 2, 1])
    kind = TensorProto.FLOAT
    return graph.model(
        "encoder",
        [("features", kind, [1, 2 * WIDTH, "features"]), ("mean", kind, [1]), ("deviation", kind, [1])],
        [("states", kind, [1, "states", WIDTH]), ("keys", kind, [1, WIDTH, "states"])],
    )


def _normalized_features(weights: _Published, graph: _Graph) -> str:
    """Do to the features what normalizing before the convolution would have done: it is linear."""
    matrix, bias = weights.inputs("/conv2/Conv")
    gains, shifts = (weights.inputs(f"/groupnorm/{kind}")[0].reshape(1, -1, 1) for kind in ("Mul", "Add"))
    of_mean = (matrix * gains).sum(axis=(1, 2)).reshape(1, -1, 1)
    of_bias = ((matrix * shifts).sum(axis=(1, 2)) + bias).reshape(1, -1, 1)
    centred = graph.add("Sub", ["features", graph.add("Mul", ["mean", graph.constant(of_mean)])])
    return graph.add("Add", [graph.add("Div", [centred, "deviation"]), graph.constant(of_bias)])


def decoder_graph(published: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph that lets each row consume `tokens` (rows, new) at `positions`.

    `states` and `keys` are the encoder's, padded to the longest window; `state_bias` (rows, 1, states) is added to the
    scores of states, `token_bias` (rows, 1, new, past + new) to those of tokens. `past.*` are (rows, 8, past, 36), and
    `present.*` the same with the new tokens behind. `logits` are of the new tokens.
    """
    weights, graph = _Published(published), _Graph()
    base = "/model/decoder"
    table, scale, zero = (graph.constant(value) for value in _embedding(weights))
    x = graph.add("DequantizeLinear", [graph.add("Gather", [table, "tokens"]), scale, zero])
    tables = graph.rotary(_MOST_TOKENS)
    for layer in range(_LAYERS):
        name = f"{base}/layers.{layer}"
        inner = graph.normalized(x, weights.inputs(f"{name}/input_layernorm/LayerNormalization")[0])
        x = graph.add("Add", [x, _over_tokens(weights, graph, inner, layer, tables)])
        inner = graph.normalized(x, weights.inputs(f"{name}/post_attention_layernorm/LayerNormalization")[0])
        x = graph.add("Add", [x, _over_states(weights, graph, inner, f"{name}/encoder_attn")])
        inner = graph.normalized(x, weights.inputs(f"{name}/final_layernorm/LayerNormalization")[0])
        value, gate = graph.split(graph.product(inner, weights.inputs(f"{name}/mlp/fc1/MatMul_quant")), 2)
        inner = graph.add("Mul", [graph.add("QuickGelu", [gate], _MICROSOFT, alpha=1.0), value])
        x = graph.add("Add", [x, graph.product(inner, weights.inputs(f"{name}/mlp/fc2/MatMul_quant"))])
    x = graph.normalized(x, weights.inputs(f"{base}/norm/LayerNormalization")[0])
    graph.product(x, weights.inputs("/proj_out/MatMul_quant"), ["logits"])
    return graph.model("decoder", *_decoder_values())


def _over_tokens(weights: _Published, graph: _Graph, x: str, layer: int, tables: tuple[str, str]) -> str:
    name = f"/model/decoder/layers.{layer}/self_attn"
    query, key, value = _self_projected(weights, graph, x, name)
    rotated = [graph.rotated(one, "positions", tables) for one in (query, key)]
    past = [f"past.{layer}.key", f"past.{layer}.value"]
    outputs = [f"said.{layer}", f"present.{layer}.key", f"present.{layer}.value"]
    inputs = [*rotated, value, "", "", "token_bias", *past]
    said = graph.add("MultiHeadAttention", inputs, _MICROSOFT, outputs, num_heads=HEADS)
    return graph.product(said, weights.inputs(f"{name}/o_proj/MatMul_quant"))


def _over_states(weights: _Published, graph: _Graph, x: str, name: str) -> str:
    key = weights.floats(f"{name}/k_proj").reshape(WIDTH, HEADS, _HEAD_WIDTH).transpose(1, 2, 0)
    value = weights.floats(f"{name}/v_proj").reshape(WIDTH, HEADS, _HEAD_WIDTH).transpose(1, 0, 2)
    query = graph.product(x, weights.inputs(f"{name}/q_proj/MatMul_quant"))
    query = graph.add("Reshape", [query, graph.shape(0, 0, HEADS, _HEAD_WIDTH)])
    query = graph.add("Transpose", [query], perm=[0, 2, 1, 3])
    query = graph.add("MatMul", [query, graph.constant(key / np.float32(np.sqrt(_HEAD_WIDTH)))])
    query = graph.add("Reshape", [query, graph.shape(0, -1, WIDTH)])
    scores = graph.add("Add", [graph.add("MatMul", [query, "keys"]), "state_bias"])
    heard = graph.add("MatMul", [graph.add("Softmax", [scores], axis=-1), "states"])
    heard = graph.add("Reshape", [heard, graph.shape(0, HEADS, -1, WIDTH)])
    heard = graph.add("Transpose", [graph.add("MatMul", [heard, graph.constant(value)])], perm=[0, 2, 1, 3])
    heard = graph.add("Reshape", [heard, graph.shape(0, 0, WIDTH)])
    return graph.product(heard, weights.inputs(f"{name}/o_proj/MatMul_quant"))


def _self_projected(weights: _Published, graph: _Graph, x: str, name: str) -> list[str]:
    return graph.split(graph.product(x, weights.joined(*(f"{name}/{one}_proj" for one in "qkv"))), 3)


def _embedding(weights: _Published) -> list[Array]:
    base = "/model/decoder/embed_tokens/Gather"
    return [*weights.inputs(base), *weights.inputs(f"{base}_output_0_DequantizeLinear")]


def _decoder_values() -> tuple[list[Any], list[Any]]:
    floats, integers = TensorProto.FLOAT, TensorProto.INT64
    cache = [f"{layer}.{kind}" for layer in range(_LAYERS) for kind in ("key", "value")]
    inputs = [
        ("tokens", integers, ["rows", "new"]),
        ("positions", integers, ["rows", "new"]),
        ("states", floats, ["rows", "states", WIDTH]),
        ("keys", floats, ["rows", WIDTH, "states"]),
        ("state_bias", floats, ["rows", 1, "states"]),
        ("token_bias", floats, ["rows", 1, "new", "total"]),
        *((f"past.{name}", floats, ["rows", HEADS, "past", _HEAD_WIDTH]) for name in cache),
    ]
    presents = ((f"present.{name}", floats, ["rows", HEADS, "total", _HEAD_WIDTH]) for name in cache)
    return inputs, [("logits", floats, ["rows", "new", "vocabulary"]), *presents]


def _signed(values: Array) -> Array:
    """Return unsigned bytes as signed ones, all less by 128: matrix and zero point together mean the same."""
    return (np.asarray(values, np.int16) - 128).astype(np.int8)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.g.node:
                yield from _graphs(attribute.g)
