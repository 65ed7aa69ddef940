"""The contract of every registered export, on its trained weights, and what each model must know."""

import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

from cuelight.exporters.export import Export
from cuelight.exporters.registry import SPECS
from cuelight.exporters.samples import PHOTO, RECORDING
from cuelight.exporters.silero_vad import PUBLISHED_ONNX

pytestmark = pytest.mark.slow


def test_parity_holds_over_batch_sizes_and_steps(trained_export: Export) -> None:
    report = trained_export.report
    spec = SPECS[report.name]

    assert report.passed
    assert {row.batch for row in report.rows} == set(spec.parity_batches)
    assert {row.step for row in report.rows} == set(range(spec.parity_steps))
    assert len(spec.parity_batches) > 1


def test_graphs_beside_the_first_are_proven_like_it(trained_export: Export) -> None:
    graphs = SPECS[trained_export.report.name].further

    assert [report.name for report in trained_export.further] == [graph.name for graph in graphs]
    for graph, report in zip(graphs, trained_export.further, strict=True):
        assert report.passed
        assert {row.batch for row in report.rows} == set(graph.parity_batches)
        assert {row.step for row in report.rows} == set(range(graph.parity_steps))
        assert (trained_export.path / f"{graph.name}.golden.npz").is_file()


def test_a_file_tells_a_server_all_it_needs(trained_export: Export) -> None:
    model = onnx.load(trained_export.path / "model.onnx")
    described = {prop.key: prop.value for prop in model.metadata_props}

    for key in ("schema", "task", "max_batch_size", "parity", "source", "license"):
        assert described[f"cuelight.{key}"]
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_espresso_is_recognised(export_of: Callable[[str], Export], cache_dir: Path) -> None:
    path = export_of("efficientnet_lite0").path / "model.onnx"
    session = ort.InferenceSession(str(path))
    described = session.get_modelmeta().custom_metadata_map
    labels = json.loads(described["cuelight.labels"])
    assert len(labels) == 1000

    image = prepared(PHOTO.fetch(cache_dir), described["cuelight.preprocessing"])
    logits, embedding = session.run(["logits", described["cuelight.embedding"]], {"image": image})

    assert labels[int(np.argmax(logits))] == "espresso"
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    weight, bias = weights["network._fc.weight"], weights["network._fc.bias"]
    np.testing.assert_allclose(embedding @ weight.T + bias, logits, atol=1e-4)


def test_probabilities_equal_the_published_file_over_a_whole_recording(
    export_of: Callable[[str], Export], cache_dir: Path
) -> None:
    samples = recording(RECORDING.fetch(cache_dir))

    ours = our_probabilities(export_of("silero_vad").path / "model.onnx", samples)
    theirs = published_probabilities(PUBLISHED_ONNX.fetch(cache_dir), samples)

    assert len(ours) == len(samples) // 512
    assert 0.2 < np.mean(ours > 0.5) < 1.0
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def prepared(photo: Path, description: str) -> NDArray[np.uint8]:
    how = json.loads(description)
    image = Image.open(photo).convert("RGB")
    scale = how["resize"]["short_side"] / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    height, width = how["crop"]
    left, top = (image.width - width) // 2, (image.height - height) // 2
    assert (how["datatype"], how["layout"], how["color"]) == ("UINT8", "NHWC", "RGB")
    return np.asarray(image.crop((left, top, left + width, top + height)))[np.newaxis]


def recording(path: Path) -> NDArray[np.float32]:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / np.float32(32768)


def our_probabilities(model: Path, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(str(model))
    state = {"context": np.zeros((1, 64), np.float32), **{name: np.zeros((1, 128), np.float32) for name in "hc"}}
    probabilities = []
    for start in range(0, len(samples) - 511, 512):
        probability, *following = session.run(None, {"audio": samples[np.newaxis, start : start + 512], **state})
        state = dict(zip(state, following, strict=True))
        probabilities.append(probability[0, 0])
    return np.array(probabilities)


def published_probabilities(model: Path, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(str(model))
    context, state = np.zeros((1, 64), np.float32), np.zeros((2, 1, 128), np.float32)
    probabilities = []
    for start in range(0, len(samples) - 511, 512):
        window = np.concatenate([context, samples[np.newaxis, start : start + 512]], 1)
        probability, state = session.run(None, {"input": window, "state": state, "sr": np.array(16_000)})
        context = window[:, -64:]
        probabilities.append(probability[0, 0])
    return np.array(probabilities)
