"""Tiny models of text whose answers are known by formula: an encoder of a dozen words, and a table of five.

The encoder's embedding is the mean of its tokens' vectors, markers included, at length 1; each of its attention weights
is 1 / tokens.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *["one", "two", "three", "four", "five", "six", "seven", "eight"]]
WIDTH = 4
MAX_TOKENS = 8
MAX_BATCH = 4
LAYERS, HEADS = 3, 2

TABLE_WORDS = ["east", "north", "northeast", "west", "nothing"]
TABLE = np.array([[1, 0], [0, 2], [1, 1], [-3, 0], [0, 0]], np.float32)


def vectors() -> NDArray[np.float32]:
    """Return the vector of each of `WORDS`."""
    return np.random.default_rng(3).standard_normal((len(WORDS), WIDTH)).astype(np.float32)


def embedding_of(text: str) -> NDArray[np.float64]:
    """Return what the encoder has to answer for a text, by the formula."""
    words = text.split()[: MAX_TOKENS - 2]
    ids = [WORDS.index(word) if word in WORDS else 1 for word in ["[CLS]", *words, "[SEP]"]]
    mean: NDArray[np.float64] = vectors()[ids].astype(np.float64).mean(0)
    return mean / np.linalg.norm(mean)


def write_encoder(
    folder: Path, *, attention: bool = False, tokenizer: bool = True, metadata: dict[str, str] | None = None
) -> None:
    """Write the encoder's version into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["share"]),
        helper.make_node("Mul", ["found", "share"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("ReduceL2", ["mean", "one"], ["length"], keepdims=1),
        helper.make_node("Div", ["mean", "length"], ["embedding"]),
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])]
    if attention:
        nodes += _attention_nodes()
        shape: list[str | int | None] = ["batch", LAYERS, HEADS, "tokens", "tokens"]
        outputs.append(helper.make_tensor_value_info("attention", TensorProto.FLOAT, shape))
    grown = [{"output": "attention", "axis": axis} for axis in (3, 4)] if attention else []
    padding: list[dict[str, Any]] = [
        {"input": "input_ids", "axis": 1, "buckets": [4, 8], "outputs": grown},
        {"input": "attention_mask", "axis": 1, "buckets": [4, 8]},
    ]
    described = {
        "cuelight.task": "text_embedding",
        "cuelight.max_batch_size": str(MAX_BATCH),
        "cuelight.max_tokens": str(MAX_TOKENS),
        "cuelight.normalized": "true",
        "cuelight.padding": json.dumps(padding),
    }
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    constants = {"table": vectors(), "one": np.array([1]), "two": np.array([2])}
    _write(folder, nodes, inputs, outputs, constants, {**described, **(metadata or {})})
    if tokenizer:
        (folder / "tokenizer.json").write_text(tiny_tokenizer().to_str())


def write_words(folder: Path, words: str = "\n".join(TABLE_WORDS)) -> None:
    """Write the table's version into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [helper.make_node("Gather", ["table", "word_ids"], ["embeddings"])]
    inputs = [helper.make_tensor_value_info("word_ids", TensorProto.INT64, ["batch", "words"])]
    outputs = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", "words", 2])]
    described = {"cuelight.task": "word_embedding", "cuelight.max_batch_size": "4", "cuelight.lowercase": "true"}
    _write(folder, nodes, inputs, outputs, {"table": TABLE}, described)
    (folder / "words.txt").write_text(words, encoding="utf-8")


def tiny_tokenizer() -> Tokenizer:
    """Return a tokenizer of whole words between markers."""
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _attention_nodes() -> list[onnx.NodeProto]:
    """Return mask / count for each layer, head and token that looks."""
    shape = helper.make_tensor("heads", TensorProto.INT64, [5], [1, LAYERS, HEADS, 1, 1])
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    columns = helper.make_tensor("columns", TensorProto.INT64, [3], [1, 2, 4])
    constants = [helper.make_node("Constant", [], [value.name], value=value) for value in (shape, axes, columns)]
    return [
        *constants,
        helper.make_node("Div", ["mask", "count"], ["looks"]),
        helper.make_node("Unsqueeze", ["looks", "axes"], ["seen"]),
        helper.make_node("Unsqueeze", ["mask", "columns"], ["rows"]),
        helper.make_node("Mul", ["rows", "seen"], ["square"]),
        helper.make_node("Expand", ["square", "heads"], ["attention"]),
    ]


def _write(
    folder: Path, nodes: Any, inputs: Any, outputs: Any, constants: dict[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "text", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
