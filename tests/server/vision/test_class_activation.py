"""Class activation maps come out of the graph itself and are what the formula says; a graph that has none says why."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.engine import SessionConfig
from cuelight.server.inference.signature import ModelSignature, TensorSpec
from cuelight.server.vision.activation_graph import with_class_activation
from cuelight.server.vision.class_activation import BIAS, CLASS, MAP, NoActivation, open_activation
from cuelight.server.vision.image_facts import ImageFacts, image_facts
from tests.vision_models import LABELS, SIZE, WEIGHT, Tail, metadata, write_colors

FP32 = DATATYPES["FP32"]
SIGNATURE = ModelSignature(
    {"image": TensorSpec("image", FP32, (-1, 3, SIZE, SIZE))},
    {"logits": TensorSpec("logits", FP32, (-1, 3)), "embedding": TensorSpec("embedding", FP32, (-1, 3))},
    8,
)


def facts(**changes: Any) -> ImageFacts:
    return image_facts(metadata(**changes), SIGNATURE)


def written(folder: Path, tail: Tail = "gemm") -> Path:
    return write_colors(folder, tail=tail) / "model.onnx"


@pytest.mark.parametrize("tail", ["gemm", "gemm_plain", "matmul", "no_bias", "pooled", "softmax"])
def test_the_map_of_each_row_is_that_of_its_own_class(tail: Tail, tmp_path: Path) -> None:
    session = ort.InferenceSession(with_class_activation(written(tmp_path, tail), "logits"))
    images = np.random.default_rng(1).random((3, 3, SIZE, SIZE), np.float32)
    classes = np.array([2, 0, 1])

    outputs = session.run(None, {"image": images, CLASS: classes})
    found = dict(zip([value.name for value in session.get_outputs()], outputs, strict=True))

    np.testing.assert_allclose(found[MAP], WEIGHT * images[np.arange(3), classes], rtol=1e-6)
    bias = found.get(BIAS, np.zeros(3))
    if tail != "softmax":
        logits = found["logits"][np.arange(3), classes]
        np.testing.assert_allclose(found[MAP].mean(axis=(1, 2)) + bias, logits, rtol=1e-5)
    assert set(found) == {"logits", MAP} | ({BIAS} if tail != "no_bias" else set())


@pytest.mark.parametrize(
    ("tail", "why"), [("unpooled", "expected a mean over the places"), ("scaled", "a scaled product")]
)
def test_a_graph_without_the_pattern_says_what_it_has_instead(tail: Tail, why: str, tmp_path: Path) -> None:
    with pytest.raises(NoActivation, match=why):
        with_class_activation(written(tmp_path, tail), "logits")


def test_a_map_that_does_not_add_up_to_the_logit_is_not_taken(tmp_path: Path) -> None:
    """A softmax at the end that the metadata keeps quiet about: its outputs are no logits."""
    path = written(tmp_path, "softmax")

    with pytest.raises(NoActivation, match="the mean of its map is"):
        open_activation(path, facts(), SIGNATURE, SessionConfig(), with_class_activation)


def test_a_map_that_adds_up_is_opened(tmp_path: Path) -> None:
    opened = open_activation(written(tmp_path), facts(), SIGNATURE, SessionConfig(), with_class_activation)

    assert opened.signature.max_batch_size == SIGNATURE.max_batch_size
    assert list(opened.signature.inputs) == ["image", CLASS]
    assert len(LABELS) == 3
    opened.engine.close()
