"""The differential test: on the same model files and the same audio, ours says what sherpa-onnx says, and when."""

from pathlib import Path

import pytest

from tests.server.speech import plain_pipeline, sherpa_reference
from tests.server.speech.sherpa_models import BUILDERS
from tests.server.speech.sherpa_reference import Recognized, speech_like

FAMILIES = tuple(BUILDERS)
SECONDS = (3.1, 2.0, 4.53)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BUILDERS[family](tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def reference(family: str, folder: Path) -> list[Recognized]:
    """Three streams of different length in the same batches, 100 ms at a time."""
    audio = [speech_like(seconds, seed) for seed, seconds in enumerate(SECONDS)]
    return sherpa_reference.recognize(folder, family, audio, 1600)


def test_the_models_say_much_and_say_different_things_of_different_audio(reference: list[Recognized]) -> None:
    for found, seconds in zip(reference, SECONDS, strict=True):
        assert 4 * seconds < len(found.tokens) < 20 * seconds
        assert len(set(found.tokens)) >= 5
    assert len({tuple(found.tokens[:5]) for found in reference}) == 3


def test_the_plainest_pipeline_agrees_with_the_reference(
    family: str, folder: Path, reference: list[Recognized]
) -> None:
    for seed, (found, seconds) in enumerate(zip(reference, SECONDS, strict=True)):
        plain = plain_pipeline.recognize(folder, family, speech_like(seconds, seed))

        assert plain.tokens == found.tokens
        assert plain.times == pytest.approx(found.times, abs=1e-4)


def test_the_best_token_leads_by_far_more_than_rounding(family: str, folder: Path) -> None:
    outputs = plain_pipeline.model_outputs(folder, speech_like(3.0, 0))
    if family.endswith("ctc"):
        ranked = outputs.copy()
        ranked.sort(axis=-1)
        assert (ranked[:, -1] - ranked[:, -2]).min() > 1e-3
        repeats = (outputs.argmax(axis=-1)[1:] == outputs.argmax(axis=-1)[:-1]).sum()
        assert repeats > 5
