"""Chroma's server with its defaults, loaded over HTTP by the same generator as Cuelight: a connection a caller.

Source: Chroma's HTTP API, version 2.
"""

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.closed_loop import Flow, percentiles_ms, run_flows
from benchmarks.http_wire import HttpWire, post

__all__ = ["Chroma", "chroma"]

_API = "/api/v2/tenants/default_tenant/databases/default_database/collections"
_START_LIMIT_S = 60.0
_ROWS_AT_ONCE = 5000
"""Chroma takes 5,461."""


@contextmanager
def chroma(python: str, folder: Path) -> Iterator["Chroma"]:
    """Run Chroma's server from that interpreter's package. Raises: RuntimeError when it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(python).with_name("chroma")), "run", "--path", str(folder), "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"ANONYMIZED_TELEMETRY": "False", "HOME": str(folder)},
    )
    try:
        server = Chroma(port, process.pid)
        limit_s = time.perf_counter() + _START_LIMIT_S
        while not server.answers():
            if process.poll() is not None or time.perf_counter() > limit_s:
                raise RuntimeError("Chroma did not start")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


class Chroma:
    """A server of Chroma that runs, with one collection."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._process = psutil.Process(pid)
        self._collection = ""

    def answers(self) -> bool:
        """Return whether it answers yet."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v2/heartbeat", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def load(self, vectors: NDArray[np.float32]) -> dict[str, float]:
        """Fill a new collection; return how long it took. The index is built meanwhile."""
        name = f"items {time.time_ns()}".replace(" ", "_")
        self._collection = f"{_API}/{self._ask(_API, {'name': name})['id']}"
        started_s = time.perf_counter()
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            part = vectors[start : start + _ROWS_AT_ONCE]
            ids = [str(row) for row in range(start, start + len(part))]
            embeddings = [base64.b64encode(vector.tobytes()).decode() for vector in part]
            self._ask(f"{self._collection}/add", {"ids": ids, "embeddings": embeddings})
        return {"load_s": time.perf_counter() - started_s}

    def search(self, queries: NDArray[np.float32], n: int) -> list[list[int]]:
        """Return the rows found for each query."""
        return [[int(row) for row in self._ask(self._query_path, _query(one, n))["ids"][0]] for one in queries]

    def measure(self, queries: NDArray[np.float32], n: int, calls: int, seconds: float) -> dict[str, float]:
        """Return the rate and latencies of so many callers at a time."""
        requests = [(post(self._query_path, json.dumps(_query(one, n)).encode()),) for one in queries]
        flow = Flow(("127.0.0.1", self._port), HttpWire, cycle(requests), calls, calls)
        before_s, started_s = self.cpu_s(), time.perf_counter()
        [sampled] = run_flows([flow], seconds)
        return {
            "per_s": sampled.per_s,
            **percentiles_ms(sampled.latencies_s),
            "failed": sampled.failed,
            "server_cores": (self.cpu_s() - before_s) / (time.perf_counter() - started_s),
            "client_cores": sampled.client_cores,
        }

    def cpu_s(self) -> float:
        """Return the CPU time used so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def memory_mib(self) -> float:
        """Return the resident memory, in MiB."""
        return float(self._process.memory_info().rss) / 2**20

    @property
    def _query_path(self) -> str:
        return f"{self._collection}/query"

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)


def _query(vector: NDArray[np.float32], n: int) -> dict[str, Sequence[object] | int]:
    """Return a query that asks for ids alone."""
    return {"query_embeddings": [vector.tolist()], "n_results": n, "include": []}
