"""Nearest items by vector: Cuelight on both fronts, pgvector's HNSW and Chroma, over the same vectors and queries."""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.chroma import chroma
from benchmarks.grpc_wire import framed
from benchmarks.pgvector import Postgres, postgres
from benchmarks.recommender_calls import (
    N,
    figures,
    flow,
    load_items,
    nearest_requests,
    opened,
    run_cuelight,
    write_items,
)
from benchmarks.recommender_likes import FRONTS, middle
from benchmarks.servers import RunningServer, recommender_server
from benchmarks.vectors import DATA, nearest, recall
from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc

__all__ = ["CONCURRENCIES", "GOOD_RECALL", "measure_million", "measure_vectors"]

CONCURRENCIES = (1, 32)
QUERIES = 1000
RECALL_QUERIES = 200
DEFAULT_EF_SEARCH = 40
EF_SEARCH = (60, 80, 100, 150, 200, 300, 400, 600, 800, 1000)
"""pgvector takes 1,000 at most."""
GOOD_RECALL = 0.99
_GRAPH_LIMIT_S = 1800.0
_MOST_BY_CALL = 200_000
_ITEMS_SEED, _QUERIES_SEED = 1, 101

Measure = Callable[[int, float], dict[str, float]]
"""What so many calls at a time get in so many seconds."""


def measure_vectors(
    folder: Path, data: str, rows: int, peers: dict[str, str], rounds: int, seconds: float
) -> dict[str, Any]:
    """Return rates, latencies and recall of every system that is there; `peers` has an interpreter for each of them."""
    items, queries, true = _vectors(data, rows)
    with ExitStack() as stack:
        systems: dict[str, Measure] = {}
        about: dict[str, dict[str, Any]] = {}
        cuelight = _Cuelight(stack, folder / "cuelight", items, FRONTS)
        for front in FRONTS:
            systems[front] = partial(cuelight.measure, front, queries)
            about[front] = cuelight.about(front, queries, true)
        if "pgvector" in peers:
            _add_pgvector(stack, folder, peers["pgvector"], (items, queries, true), systems, about)
        if "chroma" in peers:
            server = stack.enter_context(chroma(peers["chroma"], _folder(stack, folder)))
            loaded = server.load(items)
            found = server.search(queries[:RECALL_QUERIES], N)
            about["chroma"] = {**loaded, "recall": recall(true, found), "memory_mib": server.memory_mib()}
            systems["chroma"] = partial(server.measure, queries, N)
        return {
            "data": data,
            "rows": rows,
            "about": about,
            "calls": _in_turn(systems, rounds, seconds, f"{rows:,} {data}"),
        }


def measure_million(
    folder: Path, data: str, rows: int, python: str | None, rounds: int, seconds: float
) -> dict[str, Any]:
    """Return the same for a catalogue that has an index, on the front `auto` takes; pgvector, too, given a python."""
    items, queries, true = _vectors(data, rows)
    with ExitStack() as stack:
        cuelight = _Cuelight(stack, folder / "cuelight", items, FRONTS[-1:])
        front = FRONTS[-1]
        build_s = cuelight.await_graph(front, queries)
        systems: dict[str, Measure] = {front: partial(cuelight.measure, front, queries)}
        about: dict[str, dict[str, Any]] = {front: {**cuelight.about(front, queries, true), "build_s": build_s}}
        if python is not None:
            _add_pgvector(stack, folder, python, (items, queries, true), systems, about)
        return {
            "data": data,
            "rows": rows,
            "about": about,
            "calls": _in_turn(systems, rounds, seconds, f"{rows:,} {data}"),
            "exact_one_at_a_time": cuelight.measure(front, queries, 1, seconds, exact=True),
        }


class _Cuelight:
    """Servers of Cuelight with the same items, each from a data folder of its own."""

    def __init__(self, stack: ExitStack, folder: Path, items: NDArray[np.float32], fronts: Sequence[str]) -> None:
        folder.mkdir()
        self._load_s = _loaded_s(folder / fronts[0], fronts[0], items)
        for front in fronts[1:]:
            shutil.copytree(folder / fronts[0], folder / front)
        self._servers: dict[str, RunningServer] = {}
        self._stubs: dict[str, pb_grpc.RecommenderServiceStub] = {}
        for front in fronts:
            server = stack.enter_context(recommender_server(folder / front, front))
            channel = stack.enter_context(opened(server))
            self._servers[front], self._stubs[front] = server, pb_grpc.RecommenderServiceStub(channel)

    def await_graph(self, front: str, queries: NDArray[np.float32]) -> float:
        """Return how long it took from ready until a graph served; NaN where none came to serve in half an hour."""
        started_s = time.perf_counter()
        while self._stubs[front].NearestItems(nearest_requests(queries[:1])[0]).exact:
            if time.perf_counter() - started_s > _GRAPH_LIMIT_S:
                return float("nan")
            time.sleep(1)
        return time.perf_counter() - started_s

    def about(self, front: str, queries: NDArray[np.float32], true: NDArray[np.int64]) -> dict[str, Any]:
        """Return what loading took, when it was ready, what it keeps, and its recall."""
        server = self._servers[front]
        answers = [self._stubs[front].NearestItems(one) for one in nearest_requests(queries[:RECALL_QUERIES])]
        found = [[int(item.item_id) for item in answer.lists[0].items] for answer in answers]
        return {
            "load_s": self._load_s,
            "ready_after_s": server.ready_after_s,
            "recall": recall(true, found),
            "exact": all(answer.exact for answer in answers),
            "memory_mib": server.memory_mib(),
        }

    def measure(
        self, front: str, queries: NDArray[np.float32], calls: int, seconds: float, exact: bool = False
    ) -> dict[str, float]:
        """Return rate and latencies."""
        requests: list[pb.NearestItemsRequest] = nearest_requests(queries, exact)
        bodies = cycle([(framed(request.SerializeToString()),) for request in requests])
        server = self._servers[front]
        return figures(server, flow(server, "NearestItems", bodies, calls), seconds)


def _loaded_s(data: Path, front: str, items: NDArray[np.float32]) -> float:
    """Put items into a data folder, by call or, where they are very many, by import; return how long it took."""
    if len(items) > _MOST_BY_CALL:
        file = data.with_suffix(".parquet")
        write_items(items, file)
        started_s = time.perf_counter()
        run_cuelight("import", data, "--items", str(file))
        return time.perf_counter() - started_s
    with recommender_server(data, front) as server, opened(server) as channel:
        return load_items(pb_grpc.RecommenderServiceStub(channel), items)


def _add_pgvector(
    stack: ExitStack,
    folder: Path,
    python: str,
    vectors: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]],
    systems: dict[str, Measure],
    about: dict[str, dict[str, Any]],
) -> None:
    """Start it and load it; it counts as it comes, and if that misses good recall once more, searching further."""
    items, queries, true = vectors
    server = stack.enter_context(postgres(python, _folder(stack, folder)))
    scripts = _folder(stack, folder)
    loaded = {**server.load(items, scripts), "memory_mib": server.index_mib(), "version": server.version()}
    for name, efs in (("pgvector", (DEFAULT_EF_SEARCH,)), ("pgvector_good", EF_SEARCH)):
        if name == "pgvector_good" and about["pgvector"]["recall"] >= GOOD_RECALL:
            break
        ef_search, reached = _first_good(server, queries, true, efs)
        about[name] = {**loaded, "ef_search": ef_search, "recall": reached}
        systems[name] = partial(_pgvector_measured, server, queries, ef_search, scripts)


def _first_good(
    server: Postgres, queries: NDArray[np.float32], true: NDArray[np.int64], efs: Sequence[int]
) -> tuple[int, float]:
    """Return the first ef_search of good recall, or the last one, and its recall."""
    reached = 0.0
    for ef_search in efs:
        reached = recall(true, server.search(queries[:RECALL_QUERIES], N, ef_search))
        if reached >= GOOD_RECALL:
            break
    return ef_search, reached


def _pgvector_measured(
    server: Postgres, queries: NDArray[np.float32], ef_search: int, scripts: Path, calls: int, seconds: float
) -> dict[str, float]:
    return server.measure(queries, N, ef_search, calls, seconds, scripts)


def _in_turn(systems: dict[str, Measure], rounds: int, seconds: float, title: str) -> list[dict[str, Any]]:
    """Return the medians over the rounds for each number of calls at a time."""
    samples: dict[tuple[int, str], list[dict[str, float]]] = {}
    for calls in tqdm([calls for _ in range(rounds) for calls in CONCURRENCIES], desc=title):
        for name, measure in systems.items():
            samples.setdefault((calls, name), []).append(measure(calls, seconds))
    return [
        {"calls": calls, "systems": {name: middle(samples[calls, name]) for name in systems}} for calls in CONCURRENCIES
    ]


def _vectors(data: str, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return items, queries and the rows truly nearest to the first of the queries."""
    items, queries = DATA[data](rows, _ITEMS_SEED), DATA[data](QUERIES, _QUERIES_SEED)
    return items, queries, nearest(items, queries[:RECALL_QUERIES], N)


def _folder(stack: ExitStack, below: Path) -> Path:
    """Return a new folder, which is removed at the end."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=below, ignore_cleanup_errors=True)))
