"""Models that are replaced, added and removed while the server runs."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuelight.server.errors import (
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    ShuttingDown,
)
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.version_loader import VersionLoader
from cuelight.server.rpc.changes import Changes
from tests.running_repository import answer, index, one_core_loader, run, running, settled
from tests.scale_models import golden, ones, scale_model, write_version

REPLACEMENTS = 20


def test_a_model_is_replaced_again_and_again_while_requests_run(tmp_path: Path) -> None:
    """No request fails, and no answer is one of a version that was never published."""

    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0), golden(1.0))
        answers: list[float] = []
        done = asyncio.Event()

        async def client(repository: ModelRepository, rows: int) -> None:
            while not done.is_set():
                version = repository.get("m")
                outputs = await version.submit(ones(rows), rows, deadline_s=None)
                assert outputs["y"].shape == (rows, 4)
                answers.append(float(outputs["y"][0, 0]))
                answers.append(await answer(repository))
                await asyncio.sleep(0)

        async with running(tmp_path, mode="explicit", load_models=("m",)) as repository:
            clients = [asyncio.create_task(client(repository, rows)) for rows in (1, 2, 3, 4)]
            for factor in range(2, REPLACEMENTS + 2):
                write_version(tmp_path, "m", 1, scale_model(float(factor)), golden(float(factor)))
                await repository.load("m")
                assert await answer(repository) == factor
            done.set()
            await asyncio.gather(*clients)
            assert repository.get("m").version == 1
        assert set(answers) <= {float(factor) for factor in range(1, REPLACEMENTS + 2)}
        assert len(set(answers)) > REPLACEMENTS // 2

    run(scenario)


def test_a_broken_new_version_never_takes_traffic(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0), golden(1.0))
        changes = Changes()
        async with running(tmp_path, mode="poll", changed=changes.notify) as repository:
            write_version(tmp_path, "m", 2, scale_model(2.0), golden(3.0))
            await repository.poll()
            assert await answer(repository) == 1.0
            states = await index(repository)
            assert states["m/1"][0] == "READY"
            assert states["m/2"][0] == "UNAVAILABLE"
            assert 'output "y": off by' in states["m/2"][1]
            assert repository.ready

            write_version(tmp_path, "m", 2, scale_model(3.0), golden(3.0))
            await repository.poll()
            assert await answer(repository) == 3.0
            assert await settled(repository, changes) == {"m/2": ("READY", "")}

    run(scenario)


def test_a_broken_model_that_comes_later_takes_no_traffic_from_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="poll") as repository:
            write_version(tmp_path, "late", 1, b"broken")
            await repository.poll()

            assert [entry.name for entry in repository.failures()] == ["late"]
            assert repository.ready
            assert await answer(repository) == 1.0

    run(scenario)


def test_a_version_whose_replacement_fails_serves_on_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="explicit", load_models=("m",)) as repository:
            served = repository.get("m")
            write_version(tmp_path, "m", 1, b"broken")
            with pytest.raises(ModelLoadFailed, match=r'model "m": .*ONNX Runtime cannot load it'):
                await repository.load("m")
            assert repository.get("m") is served
            state, reason = (await index(repository))["m/1"]
            assert state == "READY"
            assert reason.startswith("a reload failed, the version loaded before serves on: ")

            (tmp_path / "m" / "config.pbtxt").write_text("nonsense: 1")
            with pytest.raises(ModelLoadFailed, match="nonsense"):
                await repository.load("m")
            assert repository.get("m") is served

            (tmp_path / "m" / "config.pbtxt").unlink()
            write_version(tmp_path, "m", 1, scale_model(4.0))
            await repository.load("m")
            assert await answer(repository) == 4.0
            assert await index(repository) == {"m/1": ("READY", "")}

    run(scenario)


def test_poll_follows_what_is_added_changed_and_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="poll") as repository:
            first = repository.get("m")
            await repository.poll()
            assert repository.get("m") is first, "nothing changed"

            write_version(tmp_path, "n", 1, scale_model(7.0))
            write_version(tmp_path, "m", 2, scale_model(2.0))
            await repository.poll()
            assert (await answer(repository), await answer(repository, "n")) == (2.0, 7.0)
            with pytest.raises(ModelNotFound, match="no version 1"):
                repository.get("m", "1")

            write_version(tmp_path, "m", 2, scale_model(8.0))
            await repository.poll()
            assert await answer(repository) == 8.0

            (tmp_path / "m" / "config.pbtxt").write_text("version_policy { all { } } max_batch_size: 3")
            await repository.poll()
            assert [version.version for version in repository.serving("m")] == [1, 2]
            assert repository.get("m", "1").config.max_batch_size == 3

            (tmp_path / "m" / "2" / "model.onnx").unlink()
            (tmp_path / "m" / "2").rmdir()
            await repository.poll()
            assert await answer(repository) == 1.0

            (tmp_path / "n").rename(tmp_path / ".n")
            await repository.poll()
            with pytest.raises(ModelNotReady):
                repository.get("n")
            assert repository.ready

            (tmp_path / ".n").rename(tmp_path / "n")
            await repository.poll()
            assert await answer(repository, "n") == 7.0

    run(scenario)


def test_files_that_failed_are_not_tried_again_until_they_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, b"broken")
        tried: list[int] = []

        class CountingLoader(VersionLoader):
            def prepare(self, name: str, version: int, *rest: Any) -> Any:
                tried.append(version)
                return super().prepare(name, version, *rest)

        loader = one_core_loader(CountingLoader)
        async with running(tmp_path, mode="poll", loader=loader) as repository:
            await repository.poll()
            assert tried == [1]
            write_version(tmp_path, "m", 2, scale_model(2.0))
            await repository.poll()
            await repository.poll()
            assert tried == [1, 2]
            assert await answer(repository) == 2.0

    run(scenario)


def test_each_tick_polls(tmp_path: Path) -> None:
    async def scenario() -> None:
        ticks: asyncio.Queue[int] = asyncio.Queue()
        served = asyncio.Event()

        async def on_tick() -> AsyncIterator[None]:
            while True:
                await ticks.get()
                yield

        async with running(tmp_path, mode="poll", ticks=on_tick(), changed=served.set) as repository:
            served.clear()
            write_version(tmp_path, "m", 1, scale_model(6.0))
            ticks.put_nowait(1)
            await served.wait()
            assert await answer(repository) == 6.0

    run(scenario)


def test_a_repository_that_cannot_be_read_for_a_moment_takes_no_model_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        repository_path = tmp_path / "models"
        write_version(repository_path, "m", 1, scale_model(6.0))
        async with running(repository_path, mode="poll") as repository:
            repository_path.rename(tmp_path / "elsewhere")
            await repository.poll()
            assert await answer(repository) == 6.0
            assert await index(repository) == {"m/1": ("READY", "")}

    run(scenario)


def test_loads_that_are_asked_for_together_are_done_one_after_the_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="explicit") as repository:
            gone = asyncio.ensure_future(repository.load("m"))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(*(repository.load("m") for _ in range(5)), repository.unload("m"))
            with pytest.raises(ModelNotReady):
                repository.get("m")
            await repository.load("m")
            assert await answer(repository) == 1.0

    run(scenario)


def test_after_stop_nothing_serves_and_nothing_is_loaded(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="explicit", load_models=("m",)) as repository:
            pending = repository.get("m").submit(ones(), 1, deadline_s=None)
            loading = asyncio.ensure_future(repository.load("m"))
            waiting = asyncio.ensure_future(repository.load("m"))
            await asyncio.sleep(0)
            await repository.stop()
            assert np.array_equal((await pending)["y"], np.ones((1, 4), np.float32))
            for load in (loading, waiting):
                with pytest.raises(ShuttingDown):
                    await load
            with pytest.raises(ModelNotReady):
                repository.get("m")
            with pytest.raises(ShuttingDown):
                await repository.load("m")

    run(scenario)


def test_a_replaced_version_frees_its_session_at_once_and_refuses_those_who_still_hold_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        changes = Changes()
        async with running(tmp_path, mode="explicit", load_models=("m",), changed=changes.notify) as repository:
            old = repository.get("m")
            executor = old.engines[0].executor
            session = weakref.ref(old.engines[0].session)
            await repository.unload("m")
            await settled(repository, changes)
            await asyncio.to_thread(executor.shutdown)
            assert session() is None
            with pytest.raises(ShuttingDown, match='model "m" is being unloaded'):
                await old.infer(ones())

    gc.disable()
    try:
        run(scenario)
    finally:
        gc.enable()
