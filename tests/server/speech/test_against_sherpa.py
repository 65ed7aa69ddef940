"""The differential test: on the same model files and the same audio, ours says what sherpa-onnx says, and when."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cuelight.server.speech.endpoint_rules import EndpointRules
from cuelight.server.speech.results import Word
from tests.server.speech import our_recognizer, plain_pipeline, sherpa_reference
from tests.server.speech.sherpa_models import BUILDERS
from tests.server.speech.sherpa_reference import SAMPLE_RATE_HZ, Audio, Recognized, Search, speech_like

CTC = tuple(family for family in BUILDERS if family.endswith("ctc"))
TRANSDUCERS = tuple(family for family in BUILDERS if family.endswith("transducer"))
SECONDS = (3.1, 2.0, 4.53)
TAIL_S = 1.5
"""Silence that sherpa-onnx is given so that it, too, decodes all that was said; ours adds its own."""
END_S = 0.05
"""So close to the end of the audio ours tells no times beyond it."""


@pytest.fixture(scope="module", params=BUILDERS)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with one version."""
    folder = tmp_path_factory.mktemp(family)
    (folder / "1").mkdir()
    BUILDERS[family](folder / "1")
    return folder


def recordings() -> list[Audio]:
    return [speech_like(seconds, seed) for seed, seconds in enumerate(SECONDS)]


def reference(
    folder: Path, family: str, chunk_samples: int = 1600, search: Search = "greedy_search"
) -> list[Recognized]:
    return sherpa_reference.recognize(folder / "1", family, recordings(), chunk_samples, search)


def test_the_models_say_much_and_say_different_things_of_different_audio(family: str, folder: Path) -> None:
    found = reference(folder, family)

    for each, seconds in zip(found, SECONDS, strict=True):
        assert 4 * seconds < len(each.tokens) < 20 * seconds
        assert len(set(each.tokens)) >= 5
    assert len({tuple(each.tokens[:5]) for each in found}) == 3


def test_the_plainest_pipeline_agrees_with_the_reference(family: str, folder: Path) -> None:
    for audio, found in zip(recordings(), reference(folder, family), strict=True):
        plain = plain_pipeline.recognize(folder / "1", family, audio)

        assert plain.tokens == found.tokens
        assert plain.times == pytest.approx(found.times, abs=1e-4)


@pytest.mark.parametrize("family", CTC, indirect=True)
def test_the_best_token_leads_by_more_than_rounding_and_repeats(family: str, folder: Path) -> None:
    outputs = plain_pipeline.model_outputs(folder / "1", recordings()[0])
    ranked = np.sort(outputs, axis=-1)
    best = outputs.argmax(axis=-1)

    assert (ranked[:, -1] - ranked[:, -2]).min() > 1e-3
    assert (best[1:] == best[:-1]).sum() > 5


def test_ours_says_the_same_at_the_same_times_whatever_the_chunks(family: str, folder: Path) -> None:
    expected = _expected(folder, family, "greedy_search")
    chunks = (160, 1600, 2677, 16000)

    said = our_recognizer.recognize(folder, recordings() * len(chunks), [chunk for chunk in chunks for _ in SECONDS])

    for (words,), place in zip(said, [*range(len(SECONDS))] * len(chunks), strict=True):
        _check(words, expected[place], SECONDS[place])


@pytest.mark.parametrize("voices", [1, 3, 17])
def test_ours_says_the_same_whoever_else_speaks(family: str, folder: Path, voices: int) -> None:
    expected = _expected(folder, family, "greedy_search")
    places = [number % len(SECONDS) for number in range(voices)]
    audio = recordings()

    said = our_recognizer.recognize(folder, [audio[place] for place in places], [1600] * voices)

    for (words,), place in zip(said, places, strict=True):
        _check(words, expected[place], SECONDS[place])


@pytest.mark.parametrize("family", TRANSDUCERS, indirect=True)
def test_ours_says_the_same_with_beam_search(family: str, folder: Path) -> None:
    expected = _expected(folder, family, "modified_beam_search")

    said = our_recognizer.recognize(folder, recordings(), [1600] * len(SECONDS), beam=True)

    for (words,), each, seconds in zip(said, expected, SECONDS, strict=True):
        _check(words, each, seconds)


@pytest.mark.parametrize("search", ["greedy_search", "modified_beam_search"])
@pytest.mark.parametrize("family", TRANSDUCERS, indirect=True)
def test_ours_ends_utterances_where_sherpa_does_and_goes_on_alike(family: str, folder: Path, search: Search) -> None:
    """sherpa-onnx lets a transducer's encoder run on. It starts a CTC model anew in mid-speech; ours runs on."""
    audio, rules = speech_like(4.0, 0), EndpointRules(silence_s=1e6, trailing_silence_s=1e6, max_utterance_s=1.0)
    found = sherpa_reference.recognize_utterances(folder / "1", family, audio, 1.0, search)

    (said,) = our_recognizer.recognize(folder, [audio], [1600], search == "modified_beam_search", rules)

    assert len(found) >= 3
    for ours, theirs in zip(said, found[:-1], strict=False):
        expected = list(_words(theirs, math.inf))
        assert [word.text for word in ours] == [text for text, _ in expected]
        assert [word.start_s for word in ours] == pytest.approx([at for _, at in expected], abs=1e-3)


def _expected(folder: Path, family: str, search: Search) -> list[list[tuple[str, float]]]:
    padded = [np.pad(audio, (0, round(TAIL_S * SAMPLE_RATE_HZ))) for audio in recordings()]
    found = sherpa_reference.recognize(folder / "1", family, padded, 1600, search)
    return [list(_words(each, seconds)) for each, seconds in zip(found, SECONDS, strict=True)]


def _check(said: list[Word], expected: list[tuple[str, float]], seconds: float) -> None:
    """The last word may go on in the silence, of which the two were given different amounts."""
    own = [(word.text, word.start_s) for word in said if word.start_s < seconds - END_S]
    assert len(expected) > 5
    assert [text for text, _ in own[: len(expected)]] == [text for text, _ in expected]
    assert [start for _, start in own[: len(expected)]] == pytest.approx([at for _, at in expected], abs=1e-3)
    assert len(own) <= len(expected) + 1


def _words(found: Recognized, until_s: float) -> Iterator[tuple[str, float]]:
    """Yield the words that ended before `until_s`, a space being the start of one."""
    starts = [place for place, token in enumerate(found.tokens) if token.startswith(" ") or not place]
    for first, after in pairwise([*starts, len(found.tokens)]):
        following = found.times[after] if after < len(found.tokens) else math.inf
        if following < until_s - END_S or until_s == math.inf:
            yield "".join(found.tokens[first:after]).strip(), found.times[first]
