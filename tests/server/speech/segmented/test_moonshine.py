"""The model itself, with its published weights: windows that grow, and rows of different lengths."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.speech.segmented.hearing import Hearing
from cuelight.server.speech.segmented.moonshine import START, MoonshineModel
from cuelight.server.speech.segmented.rows import Rows
from tests.server.speech.segmented.conftest import Utterance

pytestmark = pytest.mark.slow

ENDS = (700, 6_400, 16_000, 16_100, 47_999, 64_000)
STATES_ATOL = 0.02
"""Root mean square, of states of 0.55: features differ in their last bits, and an activation is rounded otherwise."""
LOGITS_ATOL = 0.5
"""Root mean square, of logits that reach 28: the scale of 8-bit activations is that of the whole batch."""


@pytest.fixture(scope="module")
def model(moonshine_folder: Path) -> MoonshineModel:
    return MoonshineModel.open(moonshine_folder)


def test_a_window_that_grew_says_what_it_says_at_once(model: MoonshineModel, utterances: list[Utterance]) -> None:
    hearing = Hearing()
    for end in ENDS:
        samples = utterances[0].samples[:end]

        grown, at_once = model.encode(samples, hearing)[0], model.encode(samples)[0]

        assert grown.shape == at_once.shape
        assert off(grown, at_once) < STATES_ATOL, end


def test_a_window_may_end_before_it_ended_last(model: MoonshineModel, utterances: list[Utterance]) -> None:
    hearing = Hearing()
    model.encode(utterances[0].samples[:64_000], hearing)

    shorter = model.encode(utterances[0].samples[:30_000], hearing)[0]

    assert off(shorter, model.encode(utterances[0].samples[:30_000])[0]) < STATES_ATOL


def test_rows_of_different_lengths_step_as_each_does_alone(model: MoonshineModel, utterances: list[Utterance]) -> None:
    encoded = [model.encode(utterances[at].samples[: 24_000 + 16_000 * at]) for at in range(4)]
    tokens = [(START, *range(500, 500 + 5 * at)) for at in range(4)]
    rows = Rows.gathered([(model.begin(heard, said)[0], [0]) for heard, said in zip(encoded, tokens, strict=True)])

    for step, token in enumerate((600, 700, 800)):
        together = model.step(rows, [token] * 4)
        for at in range(4):
            alone = model.begin(encoded[at], (*tokens[at], *(600, 700, 800)[: step + 1]))[1][-1]
            assert off(together[at], alone) < LOGITS_ATOL, (step, at)


def test_a_mistaken_mask_would_be_seen(model: MoonshineModel, utterances: list[Utterance]) -> None:
    """What the test above allows is far less than what one token of somebody else's past does."""
    encoded = model.encode(utterances[0].samples[:40_000])
    rows, _ = model.begin(encoded, (START, 500, 501, 502))
    rows.lengths = [3]

    wrong = model.step(rows, [600])[0]

    assert off(wrong, model.begin(encoded, (START, 500, 501, 502, 600))[1][-1]) > LOGITS_ATOL


def test_what_was_exported_before_is_to_be_exported_again(moonshine_folder: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "decoder.onnx", "tokenizer.bin"):
        (tmp_path / name).symlink_to(moonshine_folder / name)

    with pytest.raises(ModelLoadError, match=r"frontend\.onnx: no such file; .* exported again"):
        MoonshineModel.open(tmp_path)


def off(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the root mean square of the difference."""
    return float(np.sqrt(np.mean((one - other) ** 2)))
