"""NVIDIA's tritonclient, unmodified and in a process of its own, against the real server on both fronts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.identity_models import write_repository
from tests.serve_process import FRONTS, ServeProcess, running_server

SCRIPT = Path(__file__).with_name("triton_checks.py")
CHECKS_TIMEOUT_S = 240

SYNC_CHECKS = [
    "async_infer",
    "classification",
    "compression",
    "cuda_shared_memory",
    "errors",
    "every_datatype",
    "final_response",
    "headers",
    "infer",
    "load_and_unload",
    "log_settings",
    "model_config",
    "model_metadata",
    "model_ready",
    "repository_index",
    "requested_outputs",
    "sequence",
    "sequence_on_a_stream",
    "server_live",
    "server_metadata",
    "server_ready",
    "statistics",
    "stream",
    "stream_lives_on_after_a_bad_request",
    "system_shared_memory",
    "timeout",
    "trace_settings",
    "typed_contents",
]
AIO_CHECKS = [
    "errors",
    "every_datatype",
    "health_and_metadata",
    "infer_concurrently",
    "load_and_unload",
    "settings",
    "stream",
]


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("compat")
    write_repository(folder / "models")
    explicit = ["--model-control-mode", "explicit", "--load-model", "*"]
    with running_server(folder / "models", folder / "log", front=request.param, arguments=explicit) as running:
        yield running


@pytest.fixture(scope="module")
def sync_outcomes(server: ServeProcess) -> dict[str, str]:
    return outcomes("sync", server.target)


@pytest.fixture(scope="module")
def aio_outcomes(server: ServeProcess) -> dict[str, str]:
    return outcomes("aio", server.target)


def outcomes(kind: str, target: str) -> dict[str, str]:
    command = [sys.executable, str(SCRIPT), kind, target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECKS_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("check", SYNC_CHECKS)
def test_the_synchronous_client_works_unchanged(sync_outcomes: dict[str, str], check: str) -> None:
    assert sync_outcomes[check] == "ok", sync_outcomes[check]


@pytest.mark.parametrize("check", AIO_CHECKS)
def test_the_asyncio_client_works_unchanged(aio_outcomes: dict[str, str], check: str) -> None:
    assert aio_outcomes[check] == "ok", aio_outcomes[check]


def test_no_check_is_forgotten(sync_outcomes: dict[str, str], aio_outcomes: dict[str, str]) -> None:
    assert (sorted(sync_outcomes), sorted(aio_outcomes)) == (SYNC_CHECKS, AIO_CHECKS)
