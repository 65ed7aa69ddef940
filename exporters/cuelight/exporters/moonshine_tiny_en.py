"""Moonshine tiny: English speech to text, whatever is said. An encoder over a window, and a decoder with caches.

The weights are published in ONNX Runtime's own format, 8-bit, for use on a device. They are written here as ONNX, less
what costs time and changes nothing: every head of 36 channels is padded to 40 before its product and cut back behind
it, the caches of the decoder at every token. On a CPU that is a third of a decoder step.

Proof: both graphs against the published ones, and a known recording against its known words. The module that was
trained is not published with the weights, so there is no comparison with PyTorch.

Source: moonshine-voice 0.0.58 (MIT). Jeffries et al., Moonshine, 2024.
"""

import json
import re
import shutil
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.exporters.files_spec import FilesSpec, ProofError
from cuelight.exporters.samples import RECORDING
from cuelight.exporters.weights import WheelFile

__all__ = ["RECORDING_TEXT", "SPEC", "transcribe", "write"]

SAMPLE_RATE_HZ = 16_000
RECORDING_TEXT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
"""What is said in `samples.RECORDING`. Samuel Beckett, Worstward Ho."""

_WHEEL = "moonshine-voice==0.0.58"
_FOLDER = "moonshine_voice/assets/tiny-en"
_PLATFORM = "manylinux_2_34_x86_64"
ENCODER = WheelFile(
    requirement=_WHEEL,
    path=f"{_FOLDER}/encoder_model.ort",
    sha256="94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    platform=_PLATFORM,
)
DECODER = WheelFile(
    requirement=_WHEEL,
    path=f"{_FOLDER}/decoder_model_merged.ort",
    sha256="cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
    platform=_PLATFORM,
)
TOKENIZER = WheelFile(
    requirement=_WHEEL,
    path=f"{_FOLDER}/tokenizer.bin",
    sha256="6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    platform=_PLATFORM,
)

_ATOL = 0.25
"""Of encoder states that reach 7: one rounding of an 8-bit activation that falls the other way is a step of about 0.05,
and there are six layers."""
_GOLDEN_ATOL = 1.0
"""A server may have another processor than the exporter: sums of 8-bit products saturate on some, and not on others."""
_GOLDEN_SAMPLES = SAMPLE_RATE_HZ
_START, _END = 1, 2
_STRIDE = 384
_MAX_TOKENS = 80
_SPACE = "\u2581"

Array = NDArray[Any]


def write(folder: Path, cache_dir: Path) -> str:
    """Write encoder, decoder, tokenizer and golden vectors. Raises: ProofError, WeightsError."""
    published = ENCODER.fetch(cache_dir), DECODER.fetch(cache_dir)
    ours = folder / "model.onnx", folder / "decoder.onnx"
    for source, target in zip(published, ours, strict=True):
        model = _as_onnx(source, target)
        _drop_padding(model.graph)
        onnx.save(model, target)
    shutil.copy(TOKENIZER.fetch(cache_dir), folder / "tokenizer.bin")
    _describe(ours[0])
    samples = _samples(RECORDING.fetch(cache_dir))
    proof = _prove(published, ours, folder / "tokenizer.bin", samples)
    _write_golden(published[0], samples[:_GOLDEN_SAMPLES], folder / "golden.npz")
    return proof


def transcribe(encoder: Path, decoder: Path, tokenizer: Path, samples: Array) -> str:
    """Return what is said in samples (n,) float32: greedy, one token at a time, nothing clever."""
    hidden = _encode(encoder, samples)
    session = _session(decoder)
    past_names = [value.name for value in session.get_inputs() if value.name.startswith("past_key_values.")]
    shape = next(value.shape for value in session.get_inputs() if value.name == past_names[0])
    past: dict[str, Array] = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name in past_names}
    mask = np.ones((1, hidden.shape[1] * _STRIDE), np.int64)
    names = [value.name for value in session.get_outputs()]
    tokens = [_START]
    while len(tokens) < _MAX_TOKENS:
        begun = len(tokens) > 1
        feeds = {
            "input_ids": np.array([tokens[-1:]], np.int64),
            "encoder_hidden_states": hidden,
            "encoder_attention_mask": mask,
            "use_cache_branch": np.array([begun]),
        }
        outputs = dict(zip(names, session.run(names, feeds | past), strict=True))
        token = int(outputs["logits"][0, -1].argmax())
        if token == _END:
            break
        tokens.append(token)
        for name in past_names:
            if ".decoder." in name or not begun:
                past[name] = outputs[name.replace("past_key_values", "present")]
    vocabulary = list(_vocabulary(tokenizer.read_bytes()))
    joined = b"".join(vocabulary[token] for token in tokens[1:]).decode("utf-8", "ignore")
    return joined.replace(_SPACE, " ").strip()


def _as_onnx(source: Path, target: Path) -> onnx.ModelProto:
    """Let ONNX Runtime write the model in the other format, nothing changed."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ONNX")
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    model.graph.name = model.graph.name or "moonshine"
    return model


def _drop_padding(graph: onnx.GraphProto) -> None:
    """Take the padding of attention heads, and the slices that undo it, out of a graph and those inside it."""
    inner = list(_inner_graphs(graph))
    for one in inner:
        _drop_padding(one)
    made_by = {output: node for node in graph.node for output in node.output}
    instead: dict[str, str] = {}
    for node in graph.node:
        if "attn" in node.name and (node.op_type == "Pad" or _undoes_padding(node, made_by)):
            instead[node.output[0]] = node.input[0]
    if not instead:
        return
    kept = [node for node in graph.node if node.output[0] not in instead]
    for node in kept:
        for at, name in enumerate(node.input):
            node.input[at] = _source_of(name, instead)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(copies)


def _source_of(name: str, instead: dict[str, str]) -> str:
    while name in instead:
        name = instead[name]
    return name


def _inner_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.g.node:
                # Lost on the way through ONNX Runtime's format, and ONNX asks for one.
                attribute.g.name = attribute.g.name or attribute.name
                yield attribute.g


def _undoes_padding(node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto]) -> bool:
    """Whether a slice comes behind the second product of attention: product, transpose, slice."""
    before = made_by.get(node.input[0]) if node.op_type == "Slice" else None
    if before is None or before.op_type != "Transpose":
        return False
    product = made_by.get(before.input[0])
    return product is not None and "MatMul_1" in product.name


def _describe(path: Path) -> None:
    model = onnx.load(path)
    described = {
        "cuelight.schema": "1",
        "cuelight.task": "speech_recognition",
        "cuelight.family": "moonshine",
        "cuelight.language": "en",
        "cuelight.sample_rate_hz": str(SAMPLE_RATE_HZ),
        "cuelight.max_batch_size": "1",
        "cuelight.source": SPEC.source,
        "cuelight.license": SPEC.license,
        "cuelight.parity": json.dumps(
            {"against": "the published files", "atol": _ATOL, "onnxruntime": ort.__version__}
        ),
    }
    onnx.helper.set_model_props(model, described)
    model.producer_name = "cuelight"
    onnx.save(model, path)


def _prove(published: Sequence[Path], ours: Sequence[Path], tokenizer: Path, samples: Array) -> str:
    lines = []
    for seconds in (1, 3, 9):
        window = samples[: seconds * SAMPLE_RATE_HZ]
        error = float(np.abs(_encode(ours[0], window) - _encode(published[0], window)).max())
        lines.append(f"{seconds} s of speech: encoder states are at most {error:.2e} off the published file's")
        if not error <= _ATOL:
            raise ProofError(f"{SPEC.name}: {lines[-1]}, allowed are {_ATOL}")
    heard = transcribe(ours[0], ours[1], tokenizer, samples)
    theirs = transcribe(published[0], published[1], tokenizer, samples)
    if _words(heard) != _words(RECORDING_TEXT) or heard != theirs:
        raise ProofError(f'{SPEC.name}: heard "{heard}", the published files "{theirs}", said is "{RECORDING_TEXT}"')
    return "\n".join([*lines, f'{RECORDING.name}: every word is right: "{heard}"'])


def _write_golden(published: Path, samples: Array, path: Path) -> None:
    arrays: dict[str, Any] = {
        "atol": np.float64(_GOLDEN_ATOL),
        "rtol": np.float64(0),
        "0/inputs/input_values": samples[np.newaxis],
        "0/inputs/attention_mask": np.ones((1, len(samples)), np.int64),
        "0/outputs/last_hidden_state": _encode(published, samples),
    }
    np.savez_compressed(path, **arrays)


def _encode(encoder: Path, samples: Array) -> Array:
    feeds = {"input_values": samples[np.newaxis], "attention_mask": np.ones((1, len(samples)), np.int64)}
    return np.asarray(_session(encoder).run(["last_hidden_state"], feeds)[0])


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _vocabulary(data: bytes) -> Iterator[bytes]:
    """Yield the tokens: each its length, one byte or two from 128 on (low seven bits first), and its bytes."""
    at = 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = data[at] * 128 + length - 128, at + 1
        yield data[at : at + length]
        at += length


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _samples(path: Path) -> Array:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / np.float32(32768)


SPEC = FilesSpec(
    name="moonshine_tiny_en",
    summary="encoder-decoder Transformer, English speech to text",
    write=write,
    source="moonshine-voice 0.0.58, tiny-en",
    license="MIT",
    files=(ENCODER, DECODER, TOKENIZER, RECORDING),
)
