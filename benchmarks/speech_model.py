"""The speech model that is measured: an LSTM CTC of 2 x 512 units in NeMo's streaming shape, as sherpa-onnx reads it.

Its weights are random, so what it hears means nothing. But its third state counts chunks, and a table picked by that
count makes the first of a chunk's four frames the next word, "w0", "w1" and so on, and the others blank: every chunk of
160 ms gives one word, and the words tell which chunk an answer covers. The network itself is computed all the same.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "CHUNK_SAMPLES",
    "MODEL",
    "SAMPLE_RATE_HZ",
    "WORDS",
    "chunk_ms",
    "needed_samples",
    "noise",
    "write_speech_model",
]

MODEL = "lstm_ctc"
SAMPLE_RATE_HZ = 16_000
CHUNK_SAMPLES = 2560
MELS, UNITS, LAYERS, WINDOW, SUBSAMPLING = 80, 512, 2, 16, 4
WORDS = 128
_FRAME_SHIFT_SAMPLES, _LAST_FRAME_SAMPLES = 160, 280
_WORD_LOGIT = 20.0
_Tensor = tuple[str, int, list[int | str]]
_CACHES = ("cache_last_channel", "cache_last_time")


def needed_samples(chunk: int) -> int:
    """Return how many samples must have come before chunk number `chunk` can be recognized.

    A frame of 25 ms reaches 280 samples beyond its start (snip_edges=false), and sherpa-onnx waits for one frame more
    than the chunk's window. Source: sherpa-onnx, OnlineRecognizerCtcImpl::IsReady.
    """
    return (chunk + 1) * WINDOW * _FRAME_SHIFT_SAMPLES + _LAST_FRAME_SAMPLES


def noise(message_samples: int, messages: int = 50) -> NDArray[np.int16]:
    """Return audio (messages, message_samples) for voices to speak: loud enough to be no silence."""
    return np.random.default_rng(2).integers(-6000, 6000, (messages, message_samples), np.int16)


def write_speech_model(repository: Path) -> Path:
    """Write the model and its tokens into a model repository; return the folder of its version.

    No configuration is written: Cuelight lets a step wait for company for a fifth of its length, 32 ms.
    """
    folder = repository / MODEL / "1"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_model(), folder / "model.onnx")
    lines = [f"\u2581w{word} {word}" for word in range(WORDS)]
    (folder / "tokens.txt").write_text("\n".join([*lines, f"<blk> {WORDS}"]) + "\n", encoding="utf-8")
    return folder


def chunk_ms(model: Path, rows: int, seconds: float = 1.0) -> float:
    """Return what a chunk costs in ONNX Runtime alone, on one core, at so many rows a batch."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = {
        "audio_signal": np.random.default_rng(1).standard_normal((rows, MELS, WINDOW)).astype(np.float32),
        "length": np.full(rows, WINDOW, np.int64),
        **{cache: np.zeros((rows, LAYERS, 1, UNITS), np.float32) for cache in _CACHES},
        "cache_last_channel_len": np.zeros(rows, np.int64),
    }
    session.run(None, feeds)
    count, started_s = 0, time.process_time()
    while (took_s := time.process_time() - started_s) < seconds:
        session.run(None, feeds)
        count += rows
    return took_s / count * 1000


class _Graph:
    """Nodes and weights as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a weight; return its name."""
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def axes(self, name: str, *values: int) -> str:
        """Add integers that a node takes as input."""
        return self.constant(name, np.array(values, np.int64))

    def random(self, name: str, *shape: int) -> str:
        """Add normal weights."""
        return self.constant(name, (self._random.standard_normal(shape) * 0.05).astype(np.float32))


def _model() -> onnx.ModelProto:
    graph = _Graph()
    encoded = _encoder(graph)
    _words(graph, encoded)
    floats, integers = TensorProto.FLOAT, TensorProto.INT64
    cache_shape: list[int | str] = ["batch", LAYERS, 1, UNITS]
    states: list[_Tensor] = [
        *((cache, floats, cache_shape) for cache in _CACHES),
        ("cache_last_channel_len", integers, ["batch"]),
    ]
    inputs: list[_Tensor] = [
        ("audio_signal", floats, ["batch", MELS, WINDOW]),
        ("length", integers, ["batch"]),
        *states,
    ]
    outputs: list[_Tensor] = [
        ("logprobs", floats, ["batch", WINDOW // SUBSAMPLING, WORDS + 1]),
        ("encoded_lengths", integers, ["batch"]),
        *((f"{name}_next", kind, shape) for name, kind, shape in states),
    ]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            MODEL,
            [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
            [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    helper.set_model_props(model, _metadata())
    onnx.checker.check_model(model)
    return model


def _encoder(graph: _Graph) -> str:
    """Add what hears: four frames joined, one layer, then the LSTMs. Returns (frames, batch, units)."""
    frames_first = graph.add("Transpose", ["audio_signal"], "frames_first", perm=[0, 2, 1])
    shape = graph.axes("joined_shape", 0, -1, MELS * SUBSAMPLING)
    joined = graph.add("Reshape", [frames_first, shape], "joined")
    projected = graph.add("MatMul", [joined, graph.random("projection", MELS * SUBSAMPLING, UNITS)], "projected")
    active = graph.add("Relu", [projected], "active")
    current = graph.add("Transpose", [active], "time_first", perm=[1, 0, 2])
    states: dict[str, list[str]] = {cache: [] for cache in _CACHES}
    for layer in range(LAYERS):
        current = _lstm(graph, layer, current, states)
    for cache, parts in states.items():
        graph.add("Concat", parts, f"{cache}_next", axis=1)
    return current


def _lstm(graph: _Graph, layer: int, source: str, states: dict[str, list[str]]) -> str:
    before = []
    for cache in _CACHES:
        index = graph.axes(f"{cache}_index_{layer}", layer)
        own = graph.add("Gather", [cache, index], f"{cache}_own_{layer}", axis=1)
        flat = graph.add("Squeeze", [own, graph.axes(f"{cache}_axis_{layer}", 2)], f"{cache}_flat_{layer}")
        before.append(graph.add("Transpose", [flat], f"{cache}_before_{layer}", perm=[1, 0, 2]))
    weights = [
        graph.random(f"W{layer}", 1, 4 * UNITS, UNITS),
        graph.random(f"R{layer}", 1, 4 * UNITS, UNITS),
        graph.random(f"B{layer}", 1, 8 * UNITS),
    ]
    outputs = [f"y{layer}", *(f"{cache}_after_{layer}" for cache in _CACHES)]
    graph.nodes.append(helper.make_node("LSTM", [source, *weights, "", *before], outputs, hidden_size=UNITS))
    for cache in _CACHES:
        rows = graph.add("Transpose", [f"{cache}_after_{layer}"], f"{cache}_rows_{layer}", perm=[1, 0, 2])
        axis = graph.axes(f"{cache}_back_{layer}", 2)
        states[cache].append(graph.add("Unsqueeze", [rows, axis], f"{cache}_next_{layer}"))
    return graph.add("Squeeze", [f"y{layer}", graph.axes(f"directions_{layer}", 1)], f"z{layer}")


def _words(graph: _Graph, encoded: str) -> None:
    """Add what speaks: small logits of the network, the word of this chunk on top, and the count of chunks."""
    batch_first = graph.add("Transpose", [encoded], "batch_first", perm=[1, 0, 2])
    heard = graph.add("MatMul", [batch_first, graph.random("output", UNITS, WORDS + 1)], "heard")
    table = np.zeros((WORDS, WINDOW // SUBSAMPLING, WORDS + 1), np.float32)
    table[np.arange(WORDS), 0, np.arange(WORDS)] = _WORD_LOGIT
    table[:, 1:, WORDS] = _WORD_LOGIT
    word = graph.add("Mod", ["cache_last_channel_len", graph.axes("words", WORDS)], "word")
    said = graph.add("Gather", [graph.constant("table", table), word], "said", axis=0)
    graph.add("LogSoftmax", [graph.add("Add", [heard, said], "logits")], "logprobs", axis=-1)
    graph.add("Add", ["cache_last_channel_len", graph.axes("one", 1)], "cache_last_channel_len_next")
    graph.add("Div", ["length", graph.axes("four", SUBSAMPLING)], "encoded_lengths")


def _metadata() -> dict[str, str]:
    sizes = {"window_size": WINDOW, "chunk_shift": WINDOW, "subsampling_factor": SUBSAMPLING, "vocab_size": WORDS}
    for cache in _CACHES:
        sizes |= {f"{cache}_dim1": LAYERS, f"{cache}_dim2": 1, f"{cache}_dim3": UNITS}
    return {
        **{key: str(size) for key, size in sizes.items()},
        "model_type": "EncDecCTCModelBPE",
        "normalize_type": "NA",
    }
