"""The comparison itself: what counts as agreement, also where values are not finite."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.exporters.parity import compare
from tests.exporters.tiny import DOUBLER

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("got", "want", "share"),
    [
        ([1.0], [1.0], 0.0),
        ([1.5], [1.0], 0.5 / (0.5 + 0.1 * 1.0)),
        ([12.0], [10.0], 2.0 / (0.5 + 0.1 * 10.0)),
        ([NAN], [1.0], INF),
        ([1.0], [NAN], INF),
        ([NAN], [NAN], 0.0),
        ([1.0, 2.0], [1.0], INF),  # another shape
    ],
)
def test_an_error_is_measured_against_what_is_allowed(got: list[float], want: list[float], share: float) -> None:
    spec = replace(DOUBLER, atol=0.5, rtol=0.1)

    row = compare(spec, 1, 0, "y", array(got), array(want))

    assert row.share_of_tolerance == pytest.approx(share)


def test_another_datatype_is_infinitely_far_off() -> None:
    """Equal numbers in another datatype are another contract with the client."""
    spec = replace(DOUBLER, atol=0.5, rtol=0.1)

    row = compare(spec, 1, 0, "y", array([1.0]).astype(np.float32), array([1.0]))

    assert row.share_of_tolerance == INF


def test_without_tolerance_only_equal_values_agree() -> None:
    spec = replace(DOUBLER, atol=0.0, rtol=0.0)

    assert compare(spec, 1, 0, "y", array([1.0]), array([1.0])).share_of_tolerance == 0.0
    assert compare(spec, 1, 0, "y", array([1.0]), array([1.0000001])).share_of_tolerance == INF


def array(values: list[float]) -> NDArray[np.float64]:
    return np.array(values)
