"""Moonshine tiny: English speech to text, whatever is said. An encoder over a window, and a decoder with caches.

The weights are published in ONNX Runtime's own format, 8-bit, for use on a device. `model.onnx` is the published
encoder as ONNX; what recognizes live voices are three graphs of our own with the same weights (`moonshine_graphs`).

Proof (`moonshine_proof`): our graphs against the published ones, and a known recording against its known words. The
module that was trained is not published with the weights, so there is no comparison with PyTorch.

Source: moonshine-voice 0.0.58 (MIT). Jeffries et al., Moonshine, 2024.
"""

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.moonshine_graphs import decoder_graph, encoder_graph, frontend_graph
from cuelight.exporters.moonshine_proof import SAMPLE_RATE_HZ, STATES_ATOL, PublishedMoonshine, prove
from cuelight.exporters.samples import RECORDING
from cuelight.exporters.spec import Check
from cuelight.exporters.weights import WheelFile

__all__ = ["RECORDING_TEXT", "SPEC", "published", "write"]

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

_GOLDEN_ATOL = 1.0
"""A server may have another processor than the exporter: sums of 8-bit products saturate on some, and not on others."""
_GOLDEN_SAMPLES = SAMPLE_RATE_HZ

Array = NDArray[Any]


def published(cache_dir: Path) -> PublishedMoonshine:
    """Return the model as it is published. Raises: WeightsError."""
    return PublishedMoonshine(ENCODER.fetch(cache_dir), DECODER.fetch(cache_dir), TOKENIZER.fetch(cache_dir))


def write(folder: Path, cache_dir: Path) -> str:
    """Write the graphs, the tokenizer and golden vectors. Raises: ProofError, WeightsError."""
    theirs = published(cache_dir)
    encoder, decoder = _as_onnx(theirs.encoder, folder), _as_onnx(theirs.decoder, folder)
    onnx.save(_described(encoder), folder / "model.onnx")
    onnx.save(frontend_graph(encoder), folder / "frontend.onnx")
    onnx.save(encoder_graph(encoder), folder / "encoder.onnx")
    onnx.save(decoder_graph(decoder), folder / "decoder.onnx")
    shutil.copy(theirs.tokenizer, folder / "tokenizer.bin")
    samples = _samples(RECORDING.fetch(cache_dir))
    _write_golden(theirs, samples[:_GOLDEN_SAMPLES], folder / "golden.npz")
    return f"{RECORDING.name}: {prove(theirs, folder, samples, RECORDING_TEXT)}"


def _as_onnx(source: Path, scratch: Path) -> onnx.ModelProto:
    """Let ONNX Runtime write the model in the other format, nothing changed."""
    target = scratch / "published.onnx"
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ONNX")
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    target.unlink()
    model.graph.name = model.graph.name or "moonshine"
    return model


def _described(encoder: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.ModelProto.FromString(encoder.SerializeToString())
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
            {"against": "the published files", "atol": STATES_ATOL, "onnxruntime": ort.__version__}
        ),
    }
    onnx.helper.set_model_props(model, described)
    model.producer_name = "cuelight"
    return model


def _write_golden(theirs: PublishedMoonshine, samples: Array, path: Path) -> None:
    arrays: dict[str, Any] = {
        "atol": np.float64(_GOLDEN_ATOL),
        "rtol": np.float64(0),
        "0/inputs/input_values": samples[np.newaxis],
        "0/inputs/attention_mask": np.ones((1, len(samples)), np.int64),
        "0/outputs/last_hidden_state": theirs.states(samples),
    }
    np.savez_compressed(path, **arrays)


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
    task="speech_recognition",
    architecture="Transformer encoder-decoder",
    check=Check(
        "every word of a recording",
        "tests/exporters/test_cli.py::test_a_model_that_is_published_as_files_proves_itself_on_a_recording",
    ),
)
