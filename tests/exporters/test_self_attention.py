"""Self-attention: it is PyTorch's own, its weights are weights, and the digits it was trained for need them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from cuelight.exporters.export import Export
from cuelight.exporters.optdigits import Digits, read_digits
from cuelight.exporters.self_attention import train
from cuelight.exporters.self_attention.model import HEADS, TOKENS, WIDTH, SelfAttention, load_checkpoint
from cuelight.exporters.self_attention.spec import SPEC

RIGHT_LIMIT = 336
"""Of 360; 340 were measured."""
ALIKE_LIMIT = 36
"""A guess gets so many right; 29 were measured when every patch heeds all alike."""


def test_outputs_and_weights_are_those_of_multihead_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = SelfAttention(WIDTH, HEADS), nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    assert theirs.in_proj_weight is not None
    theirs.in_proj_weight.data.copy_(ours.inner.weight)
    theirs.in_proj_bias.data.copy_(ours.inner.bias)
    theirs.out_proj.load_state_dict(ours.outer.state_dict())
    tokens = torch.randn((3, TOKENS, WIDTH))

    with torch.inference_mode():
        heard, weights = ours(tokens)
        want, want_weights = theirs(tokens, tokens, tokens, average_attn_weights=False)

    torch.testing.assert_close(heard, want)
    torch.testing.assert_close(weights, want_weights)


@pytest.mark.slow
def test_digits_held_out_are_recognised_with_weights_that_add_up(
    export_of: Callable[[str], Export], cache_dir: Path
) -> None:
    _, held_out = read_digits(cache_dir)
    path = export_of(SPEC.name).path / "model.onnx"
    described = {prop.key: prop.value for prop in onnx.load(path).metadata_props}

    logits, attention = ort.InferenceSession(str(path)).run(None, {"image": train.as_input(held_out).numpy()})

    assert int((logits.argmax(1) == held_out.labels).sum()) >= RIGHT_LIMIT
    assert attention.shape == (len(held_out.labels), HEADS, TOKENS, TOKENS)
    assert attention.min() >= 0
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
    rows, columns = json.loads(described["cuelight.attention"])["grid"]
    assert rows * columns == TOKENS


def test_what_is_heeded_matters(cache_dir: Path) -> None:
    _, held_out = read_digits(cache_dir)
    network = load_checkpoint()
    alike = train.heeding_alike(network)

    with torch.inference_mode():
        weights = alike(train.as_input(held_out))[1]

    torch.testing.assert_close(weights, torch.full_like(weights, 1 / TOKENS))
    assert train.right_of(alike, held_out) <= ALIKE_LIMIT
    assert train.right_of(network, held_out) >= RIGHT_LIMIT


def test_the_same_seed_gives_the_same_weights(cache_dir: Path) -> None:
    digits, _ = read_digits(cache_dir)

    one, same, other = train.train(digits, 10, 0), train.train(digits, 10, 0), train.train(digits, 10, 1)

    assert torch.equal(one.outer.weight, same.outer.weight)
    assert not torch.equal(one.outer.weight, other.outer.weight)


@pytest.mark.slow
def test_training_learns_what_it_is_shown(cache_dir: Path) -> None:
    digits, _ = read_digits(cache_dir)
    few = Digits(digits.images[:20], digits.labels[:20])

    assert train.right_of(train.train(few, 300, 0), few) >= 16
