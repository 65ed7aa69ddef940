"""The servers that are compared, each a process of its own on a free port."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

__all__ = ["RunningServer", "SherpaSettings", "cuelight_server", "echo_server", "recommender_server", "sherpa_server"]

STOP_LIMIT_S = 40
_SAID = 1000
"""Characters of what a server that did not start wrote last."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers, and how long it took from its start to that."""

    process: "subprocess.Popen[str]"
    port: int
    ready_after_s: float
    metrics_port: int = 0

    def memory_mib(self) -> float:
        """Return the resident memory of the process that serves, in MiB: of a launcher and its child, the child."""
        process = psutil.Process(self.process.pid)
        return max(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20

    def cpu_s(self) -> float:
        """Return the CPU time that the process and all its children have used, in user and system mode."""
        process = psutil.Process(self.process.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return sum(one.user + one.system for one in times)


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
def recommender_server(data: Path, front: str) -> Iterator[RunningServer]:
    """Run `cuelight recommender serve` as a user would, but for the ports."""
    command = [sys.executable, "-m", "cuelight.server", "recommender", "serve", "--data", str(data)]
    command += ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--front", front]
    with _running(command) as server:
        yield server


@dataclass(frozen=True, slots=True)
class SherpaSettings:
    """How sherpa-onnx's server batches."""

    max_batch_size: int = 5
    num_work_threads: int = 3
    num_io_threads: int = 1
    loop_interval_ms: int = 10


@contextmanager
def sherpa_server(version: Path, settings: SherpaSettings) -> Iterator[RunningServer]:
    """Run sherpa-onnx's streaming server with a NeMo CTC model from its folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("sherpa-onnx-online-websocket-server")), f"--port={port}"]
    command += [f"--nemo-ctc-model={version / 'model.onnx'}", f"--tokens={version / 'tokens.txt'}"]
    command += ["--model-type=nemo_ctc", f"--log-file={os.devnull}"]
    command += [f"--{key.replace('_', '-')}={value}" for key, value in asdict(settings).items()]
    started_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    try:
        while not _listens(port):
            if process.poll() is not None or time.perf_counter() - started_s > STOP_LIMIT_S:
                raise RuntimeError(f"the server ended before it was ready: {' '.join(command)}")
        yield RunningServer(process, port, time.perf_counter() - started_s)
    finally:
        process.terminate()
        process.wait(STOP_LIMIT_S)


def _listens(port: int) -> bool:
    """Return whether somebody takes a connection; without one, after a moment."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        time.sleep(0.02)
        return False
    return True


@contextmanager
def _running(command: list[str]) -> Iterator[RunningServer]:
    with tempfile.TemporaryFile("w+") as log:
        started_s = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            port = metrics_port = 0
            for line in process.stdout:
                if found := re.match(r"gRPC +.*:(\d+)", line):
                    port = int(found[1])
                elif found := re.match(r"metrics +http://.*:(\d+)/", line):
                    metrics_port = int(found[1])
                if line.startswith("READY"):
                    break
            else:
                log.seek(0)
                raise RuntimeError(f"the server ended before it was ready: {' '.join(command)}\n{log.read()[-_SAID:]}")
            yield RunningServer(process, port, time.perf_counter() - started_s, metrics_port)
        finally:
            process.terminate()
            process.wait(STOP_LIMIT_S)
            process.stdout.close()
