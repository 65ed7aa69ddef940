"""The forecaster: its series is the equation's, and it foresees what it was not trained on."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch

from cuelight.exporters.export import Export
from cuelight.exporters.sequence_regressor import train
from cuelight.exporters.sequence_regressor.model import HISTORY
from cuelight.exporters.sequence_regressor.series import AHEAD, DELAY, Forecasts, forecasts, ndei, series
from cuelight.exporters.sequence_regressor.spec import SPEC

NDEI_LIMIT = 0.01
"""0.0051 was measured."""


def test_the_series_solves_the_equation_where_it_has_a_closed_form() -> None:
    """Up to t = 17 there is no past, so x decays; up to 34 the past is that decay, and x an integral over it."""
    x = series(2 * DELAY + 1)
    early = np.arange(DELAY + 1)
    np.testing.assert_allclose(x[: DELAY + 1], 1.2 * np.exp(-0.1 * early), rtol=1e-6)

    fine = np.linspace(0, DELAY, 100_001)
    past = 1.2 * np.exp(-0.1 * fine)
    driven = np.trapezoid(0.2 * past / (1 + past**10) * np.exp(-0.1 * (DELAY - fine)), fine)
    assert x[2 * DELAY] == pytest.approx(x[DELAY] * np.exp(-0.1 * DELAY) + driven, rel=1e-4)


def test_what_is_foreseen_comes_six_times_after_what_was_seen() -> None:
    x = series(1130).astype(np.float32)

    learned, tested = forecasts(HISTORY)

    np.testing.assert_array_equal(learned.seen[0], x[118 - HISTORY + 1 : 119])
    assert learned.wanted[0] == x[118 + AHEAD]
    np.testing.assert_array_equal(tested.seen[-1], x[1117 - HISTORY + 1 : 1118])
    assert tested.wanted[-1] == x[1117 + AHEAD]
    assert len(learned.seen) == len(tested.seen) == 500


def test_foreseeing_the_mean_has_error_one() -> None:
    wanted = np.array([1.0, 3.0, 8.0])

    assert ndei(np.full(3, 4.0), wanted) == pytest.approx(1)
    assert ndei(wanted, wanted) == 0


@pytest.mark.slow
def test_the_file_foresees_better_than_a_line_and_than_the_last_value(export_of: Callable[[str], Export]) -> None:
    learned, tested = forecasts(HISTORY)
    session = ort.InferenceSession(str(export_of(SPEC.name).path / "model.onnx"))

    (foreseen,) = session.run(None, {"series": tested.seen[..., np.newaxis]})

    error = ndei(foreseen[:, 0], tested.wanted)
    assert error < NDEI_LIMIT
    # What the README sets beside it.
    assert ndei(train.by_least_squares(learned, tested), tested.wanted) == pytest.approx(0.1138, abs=5e-5)
    assert ndei(train.by_last_value(tested), tested.wanted) == pytest.approx(0.8203, abs=5e-5)


def test_the_same_seed_gives_the_same_weights_and_they_have_learned() -> None:
    learned, _ = forecasts(HISTORY)
    few = Forecasts(learned.seen[:100], learned.wanted[:100])

    one, same, other = train.train(few, 60, 0), train.train(few, 60, 0), train.train(few, 60, 1)

    assert torch.equal(one.outer.weight, same.outer.weight)
    assert not torch.equal(one.outer.weight, other.outer.weight)
    assert ndei(train.by_network(one, few), few.wanted) < ndei(train.by_last_value(few), few.wanted) / 2
