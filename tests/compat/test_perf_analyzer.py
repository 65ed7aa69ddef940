"""perf_analyzer, unmodified, measures the real server: unary and streaming, on both fronts."""

import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.perf_analyzer import fetched, why_not
from tests.scale_models import scale_model, write_version
from tests.sequence_models import lstm_model
from tests.serve_process import FRONTS, ServeProcess, running_server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

RUN_TIMEOUT_S = 120


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("perf")
    write_version(folder / "models", "scale", 1, scale_model(2.0))
    write_version(folder / "models", "free", 1, scale_model(2.0, dims=("batch", "length")))
    write_version(folder / "models", "lstm", 1, lstm_model())
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["-m", "scale"], id="unary, run on the event loop"),
        pytest.param(["-m", "free", "--shape", "x:7", "-b", "2"], id="unary, through the batcher"),
        pytest.param(["-m", "scale", "--streaming"], id="streaming, run on the event loop"),
        pytest.param(["-m", "free", "--shape", "x:7", "--streaming"], id="streaming, through the batcher"),
        pytest.param(["-m", "lstm", "--sequence-length", "20"], id="unary, sequences"),
        pytest.param(["-m", "lstm", "--sequence-length", "20", "--streaming"], id="streaming, sequences"),
        pytest.param(["-m", "scale", "--shared-memory", "system"], id="shared memory"),
    ],
)
def test_a_run_completes_and_its_counts_are_true(
    server: ServeProcess, options: list[str], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    binary, environment = fetched(pytestconfig.rootpath / ".cache" / "tools")
    report = tmp_path / "report.csv"
    command = [str(binary), "-i", "grpc", "-u", server.target, *options, "--concurrency-range", "4", "-f", str(report)]
    # Every window is taken, however noisy the machine: what counts here is that the run completes.
    command += ["--measurement-mode", "count_windows", "--measurement-request-count", "50", "-s", "999", "-r", "3"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    with report.open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["Inferences/Second"]) > 0
    assert "Failed" not in done.stdout
