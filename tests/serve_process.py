"""The real `cuelight serve`, as a process: started, read until it says READY, stopped by signals."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from cuelight.server.rpc.envoy_available import envoy_available

ROOT = Path(__file__).resolve().parents[1]
SOURCE_ROOTS = ("protos", "server", "exporters", "clients/python")
EXIT_TIMEOUT_S = 60.0

WHY_NO_ENVOY = envoy_available()
FRONTS = ["grpcio", pytest.param("envoy", marks=pytest.mark.skipif(WHY_NO_ENVOY is not None, reason=str(WHY_NO_ENVOY)))]
"""For `parametrize`: both fronts, envoy skipped with the reason where it cannot run."""

_GRPC = re.compile(r"^gRPC +.*:(\d+) \(")
_METRICS = re.compile(r"^metrics +http://.*:(\d+)/metrics$")
_END = re.compile(r"^(NOT )?READY")


@dataclass
class ServeProcess:
    """A server that runs: its ports, what it printed, and where its log goes."""

    process: "subprocess.Popen[str]"
    port: int
    metrics_port: int
    printed: list[str]
    log: Path

    @property
    def target(self) -> str:
        """The address for gRPC clients."""
        return f"127.0.0.1:{self.port}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that was started."""
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for the end of the process and of everything it started, and return the exit code."""
        assert self.process.stdout is not None
        self.process.stdout.read()
        return self.process.wait(EXIT_TIMEOUT_S)

    def log_text(self) -> str:
        """Return what was logged so far. On the envoy front a line may follow the answer: it goes by the launcher."""
        return self.log.read_text(encoding="utf-8")

    def whole_log(self) -> str:
        """Ask the server to leave, and return all it logged: who is killed may have had more to say."""
        self.signal(signal.SIGTERM)
        assert self.exit_code() == 0, self.log_text()
        return self.log_text()


def serve_command(*arguments: str) -> list[str]:
    """Return the command line of `cuelight` with this interpreter."""
    return [sys.executable, "-m", "cuelight.server", *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment with the source roots importable."""
    roots = os.pathsep.join(str(ROOT / root) for root in (*SOURCE_ROOTS, "."))
    return {**os.environ, "PYTHONPATH": roots, "PYTHONWARNINGS": "error"}


def run_cuelight(*arguments: str, timeout_s: float = EXIT_TIMEOUT_S) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        serve_command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(),
        check=False,
    )


@contextmanager
def running_server(
    repository: Path, log: Path, *, front: str = "grpcio", arguments: Sequence[str] = ()
) -> Iterator[ServeProcess]:
    """Serve a repository on free ports of this machine; on leaving, end the server at once if it still runs."""
    with _running(["serve", "--model-repository", str(repository)], log, front, arguments) as server:
        yield server


@contextmanager
def running_recommender(
    data: Path, log: Path, *, front: str = "grpcio", arguments: Sequence[str] = ()
) -> Iterator[ServeProcess]:
    """Serve a data folder, in the same way."""
    with _running(["recommender", "serve", "--data", str(data)], log, front, arguments) as server:
        yield server


@contextmanager
def _running(words: Sequence[str], log: Path, front: str, arguments: Sequence[str]) -> Iterator[ServeProcess]:
    listening = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--front", front]
    command = serve_command(*words, *listening, *arguments)
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment())
    assert process.stdout is not None
    try:
        printed = _read_until_ready(process.stdout)
        ports = [_first(pattern, printed) for pattern in (_GRPC, _METRICS)]
        assert all(ports), f"the server did not start:\n{''.join(printed)}\n{log.read_text()}"
        yield ServeProcess(process, ports[0], ports[1], printed, log)
    finally:
        process.kill()
        process.stdout.read()
        process.stdout.close()
        process.wait()


def _read_until_ready(stdout: IO[str]) -> list[str]:
    printed: list[str] = []
    for line in stdout:
        printed.append(line)
        if _END.match(line):
            break
    return printed


def _first(pattern: re.Pattern[str], lines: Sequence[str]) -> int:
    return next((int(found[1]) for line in lines if (found := pattern.match(line))), 0)
