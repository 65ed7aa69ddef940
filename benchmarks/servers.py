"""The servers that are compared, each a process of its own on a free port."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["RunningServer", "cuelight_server", "echo_server"]

STOP_LIMIT_S = 40


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers, and how long it took from its start to that."""

    process: "subprocess.Popen[str]"
    port: int
    ready_after_s: float

    def memory_mib(self) -> float:
        """Return the resident memory of the process that serves, in MiB: of a launcher and its child, the child."""
        process = psutil.Process(self.process.pid)
        return max(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


@contextmanager
def echo_server() -> Iterator[RunningServer]:
    """Run the bare echo."""
    with _running([sys.executable, str(Path(__file__).with_name("echo_server.py")), "0"]) as server:
        yield server


@contextmanager
def cuelight_server(repository: Path, front: str) -> Iterator[RunningServer]:
    """Run `cuelight serve` as a user would, but for the ports."""
    command = [sys.executable, "-m", "cuelight.server", "serve", "--model-repository", str(repository)]
    command += ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--front", front]
    with _running(command) as server:
        yield server


@contextmanager
def _running(command: list[str]) -> Iterator[RunningServer]:
    started_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        port = 0
        for line in process.stdout:
            if found := re.match(r"gRPC +.*:(\d+)", line):
                port = int(found[1])
            if line.startswith("READY"):
                break
        else:
            raise RuntimeError(f"the server ended before it was ready: {' '.join(command)}")
        yield RunningServer(process, port, time.perf_counter() - started_s)
    finally:
        process.terminate()
        process.wait(STOP_LIMIT_S)
        process.stdout.close()
