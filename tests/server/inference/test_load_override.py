"""Loads that bring their own configuration or files."""

import json
from pathlib import Path
from typing import Any

import pytest

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import (
    InvalidRequest,
    ModelLoadFailed,
)
from cuelight.server.inference.load_override import override_of
from tests.running_repository import answer, run, running
from tests.scale_models import scale_model, write_version


def parameters(**values: Any) -> dict[str, pb.ModelRepositoryParameter]:
    return {
        name: pb.ModelRepositoryParameter(bytes_param=value)
        if isinstance(value, bytes)
        else pb.ModelRepositoryParameter(string_param=value)
        for name, value in values.items()
    }


def test_a_load_may_bring_its_configuration(tmp_path: Path) -> None:
    async def scenario() -> None:
        for version in (1, 2):
            write_version(tmp_path, "m", version, scale_model(float(version)))
        async with running(tmp_path, mode="explicit", load_models=("m",)) as repository:
            text = json.dumps({"max_batch_size": 2, "version_policy": {"specific": {"versions": [1]}}})
            await repository.load("m", override_of(parameters(config=text)))
            assert await answer(repository) == 1.0
            assert repository.get("m").config.max_batch_size == 2

            await repository.load("m")
            assert await answer(repository) == 2.0

    run(scenario)


def test_a_load_may_bring_files_in_place_of_the_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="explicit", load_models=("m",)) as repository:
            content = scale_model(9.0).SerializeToString()
            override = override_of(parameters(**{"config": "{}", "file:5/model.onnx": content}))
            await repository.load("m", override)
            assert [version.version for version in repository.serving("m")] == [5]
            assert await answer(repository) == 9.0
            assert not repository.get("m").directory.exists()

            await repository.load("new", override)
            assert await answer(repository, "new") == 9.0

            with pytest.raises(ModelLoadFailed):
                await repository.load("m", override_of(parameters(**{"config": "{}", "file:5/model.onnx": b"broken"})))
            assert await answer(repository) == 9.0

            await repository.load("m")
            assert await answer(repository) == 1.0

    run(scenario)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (parameters(**{"file:1/model.onnx": b""}), 'parameter "config": missing'),
        (parameters(config=b"{}"), 'parameter "config": expected string_param, got bytes_param'),
        (parameters(config="{"), 'parameter "config": '),
        (parameters(config='{"optimization": {}}'), 'parameter "config": field "optimization" does not apply'),
        (parameters(**{"config": "{}", "file:../x": b""}), 'parameter "file:../x": expected file:VERSION/NAME'),
        (parameters(**{"config": "{}", "file:1/../../x": b""}), "expected file:VERSION/NAME"),
        (parameters(**{"config": "{}", "file:/etc/x": b""}), "expected file:VERSION/NAME"),
        (parameters(**{"config": "{}", "file:1/x": "text"}), "expected bytes_param, got string_param"),
        (parameters(color="red"), 'parameter "color": unknown'),
    ],
)
def test_parameters_of_a_load_are_checked(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        override_of(given)

    assert says in str(raised.value)


@pytest.mark.parametrize("name", ["../escaped", "", ".", "a/b", ".hidden"])
def test_files_cannot_be_written_outside_their_folder_by_the_models_name(name: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="explicit") as repository:
            override = override_of(parameters(**{"config": "{}", "file:1/model.onnx": b""}))
            with pytest.raises(InvalidRequest, match="model_name "):
                await repository.load(name, override)

    run(scenario)
