"""Node's own gRPC, unmodified, against the real server on both fronts."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.identity_models import slow_model
from tests.scale_models import scale_model, write_version
from tests.serve_process import FRONTS, ROOT, ServeProcess, running_server

NODE_CLIENT = ROOT / "clients" / "node"
INSTALL_TIMEOUT_S = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None or shutil.which("npm") is None, reason="Node is not installed"),
]


@pytest.fixture(scope="session")
def installed() -> Path:
    """The Node client with its dependencies."""
    if not (NODE_CLIENT / "node_modules" / "@grpc" / "grpc-js").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=NODE_CLIENT, capture_output=True, timeout=INSTALL_TIMEOUT_S, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install @grpc/grpc-js: {done.stderr.decode().strip()[-200:]}")
    return NODE_CLIENT / "infer.mjs"


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("node")
    write_version(folder / "models", "scale", 1, scale_model(2.0))
    write_version(folder / "models", "free", 1, scale_model(3.0, dims=("batch", "length")))
    write_version(folder / "models", "slow", 1, slow_model())
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


def answers(script: Path, server: ServeProcess, *arguments: str) -> list[dict[str, Any]]:
    command = ["node", str(script), server.target, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize(("model", "factor"), [("scale", 2.0), ("free", 3.0)])
def test_answers_come_in_order(installed: Path, server: ServeProcess, kind: str, model: str, factor: float) -> None:
    expected = [{"id": str(value), "values": [factor * value] * 4} for value in range(50)]

    assert answers(installed, server, kind, model, "x", "4", "50") == expected


def test_an_error_has_its_code_and_the_servers_words(installed: Path, server: ServeProcess) -> None:
    (missing,) = answers(installed, server, "unary", "nothing", "x", "4", "1")
    (wrong,) = answers(installed, server, "unary", "scale", "x", "5", "1")

    assert missing["code"] == "NOT_FOUND"
    assert (wrong["code"], wrong["details"]) == ("INVALID_ARGUMENT", 'input "x": expected FP32 [-1,4], got FP32 [1,5]')


def test_a_bad_request_on_a_stream_is_answered_and_the_stream_goes_on(installed: Path, server: ServeProcess) -> None:
    bad = answers(installed, server, "stream", "scale", "z", "4", "3")

    assert [answer["id"] for answer in bad] == ["0", "1", "2"]
    assert all('input "z"' in answer["error"] for answer in bad)


def test_a_deadline_ends_the_call(installed: Path, server: ServeProcess) -> None:
    (late,) = answers(installed, server, "unary", "slow", "x", "4", "1", "30")

    assert late["code"] == "DEADLINE_EXCEEDED"
