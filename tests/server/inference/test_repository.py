"""The model repository over real models: what is served at start, and in each control mode."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from cuelight.server.errors import (
    ConfigError,
    CuelightError,
    InferenceFailed,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    Unsupported,
)
from cuelight.server.inference.engine import CUDA_PROVIDER
from cuelight.server.rpc.changes import Changes
from tests.running_repository import Mode, answer, index, run, running, settled
from tests.scale_models import golden, ones, rows_of_five_model, scale_model, write_version


def test_without_a_config_the_highest_version_serves(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 2, scale_model(2.0))
        write_version(tmp_path, "m", 10, scale_model(10.0), golden(10.0))
        async with running(tmp_path) as repository:
            assert repository.ready
            assert await answer(repository) == 10.0
            assert repository.get("m").golden_cases == 1
            assert repository.get("m", "10") is repository.get("m") is repository.get("m", "-1")
            assert await index(repository) == {"m/10": ("READY", "")}

    run(scenario)


def test_several_versions_serve_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        for version in (1, 2, 3):
            write_version(tmp_path, "m", version, scale_model(float(version)))
        (tmp_path / "m" / "config.pbtxt").write_text("version_policy { specific { versions: [ 1, 3 ] } }")
        async with running(tmp_path) as repository:
            assert [version.version for version in repository.serving("m")] == [1, 3]
            assert await answer(repository) == 3.0
            assert await answer(repository, version="1") == 1.0
            with pytest.raises(ModelNotFound, match='model "m": no version 2; versions that serve: 1, 3'):
                repository.get("m", "2")

    run(scenario)


def test_models_of_two_repositories_serve_and_a_name_in_both_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = tmp_path / "a", tmp_path / "b"
        write_version(first, "m", 1, scale_model(1.0))
        write_version(second, "n", 1, scale_model(2.0))
        write_version(first, "both", 1, scale_model(3.0))
        write_version(second, "both", 1, scale_model(4.0))
        async with running(first, second, strict_readiness=False) as repository:
            assert repository.ready
            assert await answer(repository, "m") == 1.0
            assert await answer(repository, "n") == 2.0
            with pytest.raises(ModelNotReady, match=r"lies in .*a/both and in .*b/both"):
                repository.get("both")

    run(scenario)


@pytest.mark.parametrize(
    ("name", "version", "error", "says"),
    [
        ("other", "", ModelNotFound, 'model "other": not in the repository; models: m'),
        ("m", "7", ModelNotFound, 'model "m": no version 7; versions that serve: 1'),
        ("m", "one", InvalidRequest, 'model_version "one": expected a whole number'),
        ("m", "-2", InvalidRequest, 'model_version "-2": expected a whole number'),
    ],
)
def test_what_is_not_there_is_named(
    name: str, version: str, error: type[CuelightError], says: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path) as repository:
            with pytest.raises(error, match=says):
                repository.get(name, version)
            assert repository.get("m", "01") is repository.get("m")

    run(scenario)


def broken(tmp_path: Path) -> None:
    write_version(tmp_path, "m", 1, b"no onnx at all")


def empty(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()


def without_file(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)


def disagreeing(tmp_path: Path) -> None:
    write_version(tmp_path, "m", 1, scale_model(2.0), golden(3.0))


def broken_golden(tmp_path: Path) -> None:
    (write_version(tmp_path, "m", 1, scale_model(2.0)) / "golden.npz").write_bytes(b"broken")


def misnamed(tmp_path: Path) -> None:
    write_version(tmp_path, "m", 1, scale_model(2.0))
    (tmp_path / "m" / "config.pbtxt").write_text('name: "n"')


def binary_config(tmp_path: Path) -> None:
    write_version(tmp_path, "m", 1, scale_model(2.0))
    (tmp_path / "m" / "config.pbtxt").write_bytes(b"\xff\xfe")


def unknown_field(tmp_path: Path) -> None:
    write_version(tmp_path, "m", 1, scale_model(2.0))
    (tmp_path / "m" / "config.pbtxt").write_text("\nbatch_size: 1")


def on_a_gpu(tmp_path: Path) -> None:
    write_version(tmp_path, "m", 1, scale_model(2.0))
    (tmp_path / "m" / "config.pbtxt").write_text("instance_group { kind: KIND_GPU }")


NO_CUDA = pytest.mark.skipif(CUDA_PROVIDER in ort.get_available_providers(), reason="there is a CUDA device")


@pytest.mark.parametrize(
    ("damage", "line", "says"),
    [
        pytest.param(on_a_gpu, "m/1", "CUDAExecutionProvider", marks=NO_CUDA),
        (broken, "m/1", "1/model.onnx: ONNX Runtime cannot load it"),
        (empty, "m/", "no version to serve"),
        (without_file, "m/1", "m/1: holds no model.onnx"),
        (disagreeing, "m/1", 'model "m" version 1, '),
        (broken_golden, "m/1", "1/golden.npz: "),
        (misnamed, "m/", 'config.pbtxt: field "name": got "n", expected "m"'),
        (binary_config, "m/", "config.pbtxt: cannot be read"),
        (unknown_field, "m/", "config.pbtxt, line 2: "),
    ],
)
def test_a_model_that_cannot_serve_says_why_and_the_others_serve(
    damage: Callable[[Path], None], line: str, says: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        damage(tmp_path)
        write_version(tmp_path, "good", 1, scale_model(5.0))
        async with running(tmp_path) as repository:
            state, reason = (await index(repository))[line]
            assert state == "UNAVAILABLE"
            assert says in reason
            assert not repository.ready
            assert [entry.reason for entry in repository.failures()] == [reason]
            with pytest.raises(ModelNotReady, match='model "m"'):
                repository.get("m")
            assert await answer(repository, "good") == 5.0

    run(scenario)


def test_start_names_a_model_to_load_that_no_repository_has(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        with pytest.raises(ConfigError, match=r'repository.load_models: no model "n" in '):
            async with running(tmp_path, mode="explicit", load_models=("m", "n")):
                raise AssertionError("started")

    run(scenario)


def test_explicit_loads_what_is_asked_for_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name, factor in (("a", 1.0), ("b", 2.0)):
            write_version(tmp_path, name, 1, scale_model(factor))
        async with running(tmp_path, mode="explicit", load_models=("a",)) as repository:
            assert repository.ready
            assert await index(repository) == {"a/1": ("READY", ""), "b/": ("UNAVAILABLE", "not loaded")}
            await repository.load("b")
            assert await answer(repository, "b") == 2.0
            await repository.unload("a")
            with pytest.raises(ModelNotReady, match="unloaded"):
                repository.get("a")
            with pytest.raises(ModelNotFound, match='model "c": no such folder in '):
                await repository.load("c")
            with pytest.raises(ModelNotFound, match='model "c"'):
                await repository.unload("c")
            await repository.load("a")
            assert await answer(repository, "a") == 1.0

    run(scenario)


def test_an_unloaded_model_is_drained_and_no_longer_missed(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        changes = Changes()
        async with running(tmp_path, mode="explicit", load_models=("*",), changed=changes.notify) as repository:
            old = repository.get("m")
            pending = old.submit(ones(), 1, deadline_s=None)
            await repository.unload("m")
            assert (await pending)["y"][0, 0] == 1.0
            assert await settled(repository, changes) == {"m/1": ("UNAVAILABLE", "unloaded")}
            assert repository.ready

    run(scenario)


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_load_and_unload_name_the_mode_that_forbids_them(mode: Mode, tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode=mode) as repository:
            for change in (repository.load, repository.unload):
                with pytest.raises(Unsupported, match=f'control mode is "{mode}"'):
                    await change("m")

    run(scenario)


@pytest.mark.parametrize("proven", [True, False])
def test_a_model_that_does_not_take_invented_sizes_serves_all_the_same(proven: bool, tmp_path: Path) -> None:
    async def scenario() -> None:
        x = np.arange(10, dtype=np.float32).reshape(1, 10)
        vectors = {"0/inputs/x": x, "0/outputs/y": x.reshape(1, 2, 5), "atol": 0.0, "rtol": 0.0}
        write_version(tmp_path, "m", 1, rows_of_five_model(), vectors if proven else None)
        async with running(tmp_path) as repository:
            version = repository.get("m")
            assert math.isfinite(version.steps.by_rows[1]) is proven
            assert (await version.infer({"x": x}))["y"].tolist() == x.reshape(1, 2, 5).tolist()
            with pytest.raises(InferenceFailed):
                await version.infer({"x": x[:, :7]})

    run(scenario)
