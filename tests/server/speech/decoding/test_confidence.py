"""Confidence: the geometric mean of probabilities."""

import math

import pytest

from cuelight.server.speech.decoding.confidence import confidence_of
from cuelight.server.speech.decoding.log_space import NEVER, log_add


@pytest.mark.parametrize(
    ("probabilities", "confidence"),
    [([0.5], 0.5), ([0.9, 0.4], math.sqrt(0.36)), ([1.0, 1.0, 1.0], 1.0), ([], 0.0)],
)
def test_it_is_the_geometric_mean(probabilities: list[float], confidence: float) -> None:
    assert confidence_of([math.log(p) for p in probabilities]) == pytest.approx(confidence)


def test_it_stays_between_0_and_1_whatever_the_model_says() -> None:
    assert confidence_of([1e-6]) == 1.0
    assert confidence_of([NEVER, 0.0]) == 0.0


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.25), (0.25, 0.5), (1e-300, 1e-300)])
def test_logarithms_add_as_what_they_stand_for(a: float, b: float) -> None:
    assert math.exp(log_add(math.log(a), math.log(b))) == pytest.approx(a + b)


def test_nothing_added_to_nothing_is_nothing() -> None:
    assert log_add(NEVER, NEVER) == NEVER
    assert log_add(NEVER, -1.0) == log_add(-1.0, NEVER) == -1.0
