"""What is seen of models while they are being built, held there for as long as a test looks."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from cuelight.server.config import EngineConfig
from cuelight.server.errors import ModelNotReady
from cuelight.server.inference.version_loader import PreparedVersion, VersionLoader
from tests.running_repository import answer, index, run, running
from tests.scale_models import scale_model, write_version


class HeldLoader(VersionLoader):
    """A loader that waits, on its thread, before the builds of the models in `held`."""

    def __init__(self, *held: str) -> None:
        super().__init__(EngineConfig(cores=1, device="cpu"), 4096)
        self.held = set(held)
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def prepare(self, name: str, *rest: Any) -> PreparedVersion:
        """Build the version when it may."""
        if name in self.held:
            self.entered.set()
            assert self.let_go.wait(30), "the test never let the loader go"
        return super().prepare(name, *rest)


def test_a_model_that_is_being_loaded_says_so_and_the_others_serve(tmp_path: Path) -> None:
    async def scenario() -> None:
        loader = HeldLoader("slow")
        for name in ("m", "slow"):
            write_version(tmp_path, name, 1, scale_model(2.0))
        async with running(tmp_path, mode="explicit", load_models=("m",), loader=loader) as repository:
            loading = asyncio.ensure_future(repository.load("slow"))
            await asyncio.to_thread(loader.entered.wait)
            assert await index(repository) == {"m/1": ("READY", ""), "slow/1": ("LOADING", "")}
            with pytest.raises(ModelNotReady, match='model "slow" does not serve: version 1 is LOADING'):
                repository.get("slow")
            with pytest.raises(ModelNotReady, match='model "slow" version 1: LOADING'):
                repository.get("slow", "1")
            assert await answer(repository) == 2.0
            loader.let_go.set()
            await loading
            assert await answer(repository, "slow") == 2.0

    run(scenario)


def test_the_old_version_serves_while_the_new_one_is_built(tmp_path: Path) -> None:
    async def scenario() -> None:
        loader = HeldLoader()
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with running(tmp_path, mode="poll", loader=loader) as repository:
            loader.held.add("m")
            write_version(tmp_path, "m", 1, scale_model(2.0))
            write_version(tmp_path, "m", 2, scale_model(3.0))
            polling = asyncio.ensure_future(repository.poll())
            await asyncio.to_thread(loader.entered.wait)
            assert await answer(repository) == 1.0
            assert await index(repository) == {"m/1": ("READY", ""), "m/2": ("LOADING", "")}
            assert repository.ready
            loader.let_go.set()
            await polling
            assert await answer(repository) == 3.0

    run(scenario)


def test_a_load_whose_caller_has_left_is_finished(tmp_path: Path) -> None:
    async def scenario() -> None:
        loader = HeldLoader("m")
        for name in ("m", "n"):
            write_version(tmp_path, name, 1, scale_model(4.0))
        async with running(tmp_path, mode="explicit", loader=loader) as repository:
            loading = asyncio.ensure_future(repository.load("m"))
            await asyncio.to_thread(loader.entered.wait)
            loading.cancel()
            loader.let_go.set()
            await repository.load("n")
            assert await answer(repository) == 4.0

    run(scenario)


def test_a_build_that_breaks_in_an_unforeseen_way_costs_its_model_alone(tmp_path: Path) -> None:
    class BreakingLoader(VersionLoader):
        def prepare(self, name: str, *rest: Any) -> PreparedVersion:
            if name == "m":
                raise ZeroDivisionError("nobody thought of this")
            return super().prepare(name, *rest)

    async def scenario() -> None:
        for name in ("m", "n"):
            write_version(tmp_path, name, 1, scale_model(4.0))
        loader = BreakingLoader(EngineConfig(cores=1, device="cpu"), 4096)
        async with running(tmp_path, loader=loader) as repository:
            assert (await index(repository))["m/1"] == (
                "UNAVAILABLE",
                "loading it failed unexpectedly: nobody thought of this",
            )
            assert await answer(repository, "n") == 4.0

    run(scenario)


def test_a_server_may_stop_while_a_model_is_being_built(tmp_path: Path) -> None:
    async def scenario() -> None:
        loader = HeldLoader("m")
        write_version(tmp_path, "m", 1, scale_model(4.0))
        async with running(tmp_path, mode="explicit", loader=loader) as repository:
            loading = asyncio.ensure_future(repository.load("m"))
            await asyncio.to_thread(loader.entered.wait)
        with pytest.raises(Exception, match="shutting down"):
            await loading
        loader.let_go.set()

    run(scenario)
