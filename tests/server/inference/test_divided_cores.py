"""How a version divides the cores by what was measured: the measurements are given here, sessions and sums are real."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cuelight.server.inference import loader
from cuelight.server.inference.engine import OrtEngine, SessionConfig, open_session
from cuelight.server.inference.loader import InstanceConfig, LoadedEngines, load_engines
from cuelight.server.inference.model_version import paying_rows
from tests.scale_models import write_version
from tests.server.inference.loaded import signature_of

CORES = 3
WIDTH = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a matrix product of free length, (batch, length, 64) -> (batch, length, 64): never run on the loop."""
    weights = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32)
    return written(tmp_path_factory.mktemp("divided"), "MatMul", weights)


def written(folder: Path, operator: str, constant: NDArray[np.float32]) -> Path:
    """Write a model of one node, of (batch, length, 64) and a constant."""
    shape: list[str | int | None] = ["batch", "length", WIDTH]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(constant, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return write_version(folder, "one", 1, made) / "model.onnx"


def loaded(
    model: Path, monkeypatch: pytest.MonkeyPatch, speed_up: float, one_core_s: float, *, measured: bool = True
) -> LoadedEngines:
    """Load the model on three cores that are so many times as fast together as one, which takes so long."""
    monkeypatch.setattr(loader, "_compared", lambda wide, narrow, request: (speed_up, one_core_s))
    signature = signature_of(open_session(model, SessionConfig()))
    return load_engines(model, signature, InstanceConfig(), CORES, measured=measured)


def threads_of(found: LoadedEngines) -> list[int]:
    return [engine.config.threads for engine in found.engines]


def test_a_model_that_gains_a_little_from_all_cores_has_both_and_they_agree(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loaded(model, monkeypatch, 1.5, 0.01)

    assert threads_of(found) == [CORES, 1, 1, 1]
    assert (found.plan.wide, found.plan.speed_up) == (found.engines[0], 1.5)
    assert len({id(engine.session) for engine in found.engines}) == 2, "engines of one core share a session"
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 5, WIDTH)).astype(np.float32)}
    [expected] = found.engines[0].run(feeds)
    for engine in found.engines[1:]:
        np.testing.assert_allclose(engine.run(feeds)[0], expected, rtol=1e-5, atol=1e-5)


def test_the_lone_request_keeps_all_cores_where_they_seem_to_gain_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that is busy while the model loads says no more than that.
    found = loaded(model, monkeypatch, 0.95, 0.01)

    assert threads_of(found) == [CORES, 1, 1, 1]
    assert found.plan.speed_up == 1.0


def test_all_cores_are_never_used_where_they_do_harm(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(model, monkeypatch, 0.4, 0.01)

    assert threads_of(found) == [1, 1, 1]
    assert found.plan.wide is None


def test_a_run_that_uses_all_cores_well_keeps_them(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(model, monkeypatch, 2.9, 0.01)

    assert threads_of(found) == [CORES]
    assert found.plan.paying_rows is None


@pytest.mark.parametrize(("speed_up", "threads"), [(1.0, [1]), (1.5, [CORES])])
def test_a_short_run_has_one_engine_of_one_core_unless_all_are_worth_it(
    model: Path, monkeypatch: pytest.MonkeyPatch, speed_up: float, threads: list[int]
) -> None:
    assert threads_of(loaded(model, monkeypatch, speed_up, 0.0002)) == threads


def test_what_is_compared_has_a_size_as_in_practice(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    of_three = written(tmp_path, "Add", np.ones((3, WIDTH), np.float32))
    example = {"x": np.random.default_rng(0).standard_normal((2, 3, WIDTH)).astype(np.float32)}

    compared = [sizes_compared(file, monkeypatch, example) for file in (model, of_three)]

    assert compared == [(1, 32, WIDTH), (1, 3, WIDTH)], "a model that takes no other size is compared at its own"
    assert capfd.readouterr().err == ""


def sizes_compared(
    model: Path, monkeypatch: pytest.MonkeyPatch, example: dict[str, NDArray[np.float32]]
) -> tuple[int, ...]:
    """Load a model on several cores and return the shape of the request that the engines were compared on."""
    shapes: list[tuple[int, ...]] = []

    def compared(wide: OrtEngine, narrow: OrtEngine, request: dict[str, NDArray[np.float32]]) -> tuple[float, float]:
        shapes.append(request["x"].shape)
        return 1.5, 0.01

    monkeypatch.setattr(loader, "_compared", compared)
    signature = signature_of(open_session(model, SessionConfig()))
    load_engines(model, signature, InstanceConfig(), CORES, example=example, measured=True)
    [shape] = shapes
    return shape


def test_a_configuration_that_says_how_is_followed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_of(loaded(model, monkeypatch, 1.5, 0.01, measured=False)) == [CORES]


def test_a_large_model_is_in_memory_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_LARGEST_TWICE_BYTES", model.stat().st_size - 1)

    assert threads_of(loaded(model, monkeypatch, 1.5, 0.01)) == [CORES]


@pytest.mark.parametrize(
    ("seconds_of_rows", "rows"),
    [
        ({1: 0.001, 2: 0.0011, 4: 0.0013, 8: 0.0017, 16: 0.0025}, 16),
        ({1: 0.010, 2: 0.020, 4: 0.040, 8: 0.080, 16: 0.160}, 4),
        ({1: 0.040, 2: 0.080}, 1),
        ({1: 0.040, 2: 0.050, 4: 0.099}, 2),
        ({1: 0.500}, 1),
    ],
)
def test_a_batch_pays_while_its_rows_get_cheaper_or_a_run_is_short(
    model: Path, seconds_of_rows: dict[int, float], rows: int
) -> None:
    signature = signature_of(open_session(model, SessionConfig()), max_batch_size=16)
    engine = SimpleNamespace(step_time_s=lambda feeds, repeats: seconds_of_rows[len(feeds["x"])])

    assert paying_rows(engine, signature, None, seconds_of_rows[1]) == rows  # type: ignore[arg-type]
