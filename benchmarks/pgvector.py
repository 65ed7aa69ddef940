"""pgvector's HNSW over PostgreSQL's unix socket, loaded by PostgreSQL's own pgbench.

Vectors are of unit length, so they are compared by inner product, which pgvector says is fastest. pgbench is written in
C and costs less than any other client: prepared statements, a connection a caller, 100 queries in turn.
Source: pgvector's README (0.6), PostgreSQL 16's documentation (pgbench; COPY, "Binary Format").
"""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.closed_loop import WARM_S, percentiles_ms

__all__ = ["Postgres", "copy_rows", "latencies_s", "postgres"]

QUERIES = 100
"""pgbench takes no more than 128 scripts."""
BUILD_LIMIT_S = 600
_COPY_START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_ROWS_AT_ONCE = 100_000
_LEAVE_S = 0.3
"""Until then the postmaster has taken note of backends whose callers have left, and of their CPU time."""
_READY = "SET hnsw.ef_search = {ef_search};"


@contextmanager
def postgres(python: str, folder: Path) -> Iterator["Postgres"]:
    """Run PostgreSQL with pgvector from that interpreter's wheel. Raises: RuntimeError when it does not start."""
    command = [python, str(Path(__file__).with_name("postgres_server.py")), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("PostgreSQL did not start")
        told = json.loads(line)
        yield Postgres(Path(told["programs"]), told["socket"], told["pid"])
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


class Postgres:
    """A PostgreSQL that runs, with one table `items` of vectors and its HNSW index."""

    def __init__(self, programs: Path, socket: str, pid: int) -> None:
        self._programs = programs
        self._address = ["-h", socket, "-U", "postgres", "postgres"]
        self._process = psutil.Process(pid)

    def load(self, vectors: NDArray[np.float32], folder: Path) -> dict[str, float]:
        """Fill the table anew and build the index (m = 16, ef_construction = 64); return how long each took.

        Raises: RuntimeError when the index takes more than BUILD_LIMIT_S.
        """
        file = folder / "items.copy"
        file.write_bytes(b"")
        with file.open("ab") as out:
            out.write(_COPY_START)
            for start in range(0, len(vectors), _ROWS_AT_ONCE):
                out.write(copy_rows(vectors[start : start + _ROWS_AT_ONCE], start))
            out.write(_COPY_END)
        self.sql(
            f"DROP TABLE IF EXISTS items; CREATE TABLE items (id int PRIMARY KEY, v vector({vectors.shape[1]}));"
            "ALTER TABLE items ALTER COLUMN v SET STORAGE PLAIN;"
        )
        started_s = time.perf_counter()
        self.sql(f"\\copy items FROM '{file}' WITH (FORMAT binary)")
        loaded_s = time.perf_counter()
        file.unlink()
        self.sql(
            f"SET statement_timeout = '{BUILD_LIMIT_S}s'; CREATE INDEX nearest ON items USING hnsw (v vector_ip_ops);"
        )
        built_s = time.perf_counter()
        self.sql("VACUUM ANALYZE items;")
        return {"load_s": loaded_s - started_s, "build_s": built_s - loaded_s}

    def search(self, queries: NDArray[np.float32], n: int, ef_search: int) -> list[list[int]]:
        """Return the rows found for each query. Raises: RuntimeError when the index is not what is searched."""
        ready = _READY.format(ef_search=ef_search)
        explained = self.sql(ready + "EXPLAIN " + _query(queries[0], n))
        if "Index Scan using nearest" not in explained:
            raise RuntimeError(f"expected a scan of the index, got {explained}")
        asked = ready + "".join(f"SELECT array_agg(id) FROM ({_query(query, n)[:-1]}) AS found;" for query in queries)
        printed = self.sql(asked).splitlines()
        return [[int(row) for row in line.strip("{}").split(",")] for line in printed if line.startswith("{")]

    def measure(
        self, queries: NDArray[np.float32], n: int, ef_search: int, calls: int, seconds: float, folder: Path
    ) -> dict[str, float]:
        """Return the rate and latencies of so many callers at a time."""
        scripts: list[str] = []
        for row, query in enumerate(queries[:QUERIES]):
            (folder / f"{row}.sql").write_text(_query(query, n) + "\n")
            scripts += ["-f", str(folder / f"{row}.sql")]
        for old in folder.glob("pgbench_log*"):
            old.unlink()
        options = f"-c hnsw.ef_search={ef_search}"
        command = [str(self._programs / "pgbench"), "-n", "-M", "prepared", "-c", str(calls)]
        command += ["-j", str(min(calls, 2)), "-T", str(round(seconds + WARM_S)), "-l", "--log-prefix"]
        command += [str(folder / "pgbench_log"), *scripts, *self._address]
        server_s, client_s = self.cpu_s(), psutil.Process().cpu_times().children_user
        started_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={"PGOPTIONS": options})
        took_s = time.perf_counter() - started_s
        time.sleep(_LEAVE_S)
        client_s = psutil.Process().cpu_times().children_user - client_s
        lines = [line for log in folder.glob("pgbench_log*") for line in log.read_text().splitlines()]
        taken_s, counted_s = latencies_s(lines, WARM_S)
        return {
            "per_s": len(taken_s) / counted_s,
            **percentiles_ms(taken_s),
            "failed": 0,
            "server_cores": (self.cpu_s() - server_s) / took_s,
            "client_cores": client_s / took_s,
        }

    def cpu_s(self) -> float:
        """Return the CPU time of all backends, those that have ended included."""
        times = self._process.cpu_times()
        living = sum(_cpu_s(child) for child in self._process.children(recursive=True))
        return float(times.user + times.system + times.children_user + times.children_system + living)

    def index_mib(self) -> float:
        """Return the size of table and index together, in MiB; all of it fits the shared buffers."""
        return int(self.sql("SELECT pg_total_relation_size('items');")) / 2**20

    def version(self) -> str:
        """Return the versions of server and extension."""
        server, vector = self.sql(
            "SHOW server_version; SELECT extversion FROM pg_extension WHERE extname = 'vector';"
        ).split()
        return f"PostgreSQL {server}, pgvector {vector}"

    def sql(self, text: str) -> str:
        """Return what psql prints. Raises: RuntimeError with what PostgreSQL says."""
        command = [str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *self._address]
        ran = subprocess.run(command, input=text + "\n", capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"PostgreSQL: {ran.stderr.strip()}")
        return ran.stdout.strip()


def copy_rows(vectors: NDArray[np.float32], first: int) -> bytes:
    """Return rows of (id int, v vector) for a binary COPY; ids count on from `first`.

    A row is its number of columns, then the length and the bytes of each; a vector is its length, 16 bits that are 0,
    and its values. Everything is big-endian. Source: pgvector, `vector_recv`.
    """
    rows, dimensions = vectors.shape
    kind = np.dtype(
        [
            ("columns", ">i2"),
            ("id_bytes", ">i4"),
            ("id", ">i4"),
            ("v_bytes", ">i4"),
            ("dimensions", ">i2"),
            ("unused", ">i2"),
            ("v", ">f4", (dimensions,)),
        ]
    )
    table = np.zeros(rows, kind)
    table["columns"], table["id_bytes"], table["v_bytes"] = 2, 4, 4 + 4 * dimensions
    table["id"] = np.arange(first, first + rows)
    table["dimensions"], table["v"] = dimensions, vectors
    return table.tobytes()


def latencies_s(lines: Sequence[str], warm_s: float) -> tuple[list[float], float]:
    """Return the latencies in a pgbench log of what began after the warm-up, and over which time they were.

    A line: client, number, latency in us, script, end in seconds and us.
    """
    rows = [line.split() for line in lines]
    taken = [(int(row[4]) + int(row[5]) / 1e6, int(row[2]) / 1e6) for row in rows]
    begun_s = min(ended_s - took_s for ended_s, took_s in taken) + warm_s
    counted = [(ended_s, took_s) for ended_s, took_s in taken if ended_s - took_s >= begun_s]
    return [took_s for _, took_s in counted], max(ended_s for ended_s, _ in counted) - begun_s


def _query(query: NDArray[np.float32], n: int) -> str:
    text = ",".join(str(value) for value in query.tolist())
    return f"SELECT id FROM items ORDER BY v <#> '[{text}]' LIMIT {n};"


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
