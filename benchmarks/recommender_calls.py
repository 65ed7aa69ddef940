"""Calls of the recommender as the load generator sends them, and what is asked of a server beside the load."""

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop import Flow, Sampled, percentiles_ms, run_flows
from benchmarks.grpc_wire import GrpcWire, framed
from benchmarks.servers import RunningServer
from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from cuelight.server.recommender.model_names import FITTED_NAMES

__all__ = [
    "SPACE",
    "N",
    "await_models",
    "figures",
    "flow",
    "interactions",
    "load_items",
    "metric",
    "nearest_requests",
    "opened",
    "recommend_requests",
    "run_cuelight",
    "sampled_figures",
    "upserts",
    "write_items",
]

N = 10
SPACE = "made_up"
_SERVICE = "/cuelight.recommender.v1.RecommenderService"
_MAX_CONNECTIONS = 8
_ITEMS_A_CALL = 1000
_UPSERTS_IN_FLIGHT = 4
_MODELS_LIMIT_S = 300.0
_LARGEST_ANSWER_BYTES = 64 << 20


def opened(server: RunningServer) -> grpc.Channel:
    """Return a channel to a server, which the caller closes."""
    options = (("grpc.max_receive_message_length", _LARGEST_ANSWER_BYTES),)
    return grpc.insecure_channel(f"127.0.0.1:{server.port}", options)


def flow(
    server: RunningServer,
    method: str,
    bodies: Iterator[Sequence[bytes]],
    calls: int,
    per_s: float | None = None,
) -> Flow:
    """Return calls of a method, so many at a time."""
    wire = partial(GrpcWire, f"{_SERVICE}/{method}")
    connections = min(_MAX_CONNECTIONS, calls)
    return Flow(("127.0.0.1", server.port), wire, bodies, calls, connections, per_s)


def figures(server: RunningServer, one: Flow, seconds: float, warm_s: float = 1.0) -> dict[str, float]:
    """Run one flow; return its rate, its latencies, its failures, and what server and client used of the cores."""
    before_s, started_s = server.cpu_s(), time.perf_counter()
    [sampled] = run_flows([one], seconds, warm_s)
    server_cores = (server.cpu_s() - before_s) / (time.perf_counter() - started_s)
    return {**sampled_figures(sampled), "server_cores": server_cores, "client_cores": sampled.client_cores}


def sampled_figures(sampled: Sampled) -> dict[str, float]:
    """Return rate, latencies and failures."""
    return {"per_s": sampled.per_s, **percentiles_ms(sampled.latencies_s), "failed": sampled.failed}


def nearest_requests(queries: NDArray[np.float32], exact: bool = False) -> list[pb.NearestItemsRequest]:
    """Return a call for each query."""
    return [
        pb.NearestItemsRequest(
            space=SPACE, queries=[pb.NearestQuery(embedding=pb.Embedding(values=query))], n=N, exact=exact
        )
        for query in queries
    ]


def recommend_requests(users: Iterable[str], model: str, explain: bool) -> Iterator[Sequence[bytes]]:
    """Return calls for one user after the other, for ever."""
    options = pb.ShelfOptions(model=model, n=N, explain=explain)
    requests = (pb.RecommendRequest(queries=[pb.Query(user_id=user)], options=options) for user in users)
    return cycle([(framed(request.SerializeToString()),) for request in requests])


def interactions(
    new_event: Callable[[], pb.Interaction], events: int = 1, messages: int = 1
) -> Iterator[Sequence[bytes]]:
    """Return calls that record events, so many a message and so many messages a call, for ever."""
    while True:
        yield [
            framed(pb.RecordInteractionsRequest(interactions=[new_event() for _ in range(events)]).SerializeToString())
            for _ in range(messages)
        ]


def upserts(vectors: NDArray[np.float32]) -> Iterator[pb.UpsertItemsRequest]:
    """Return calls that set items 0, 1, 2, ... with an embedding each and nothing else."""
    for start in range(0, len(vectors), _ITEMS_A_CALL):
        part = vectors[start : start + _ITEMS_A_CALL]
        items = (
            pb.Item(item_id=str(row), embeddings={SPACE: pb.Embedding(values=vector)})
            for row, vector in enumerate(part, start)
        )
        yield pb.UpsertItemsRequest(items=items)


def load_items(stub: pb_grpc.RecommenderServiceStub, vectors: NDArray[np.float32]) -> float:
    """Set items with embeddings, four calls at a time; return how long it took until all were acknowledged."""
    requests = upserts(vectors)
    started_s = time.perf_counter()
    under_way = [stub.UpsertItems.future(request) for request in islice(requests, _UPSERTS_IN_FLIGHT)]
    for request in requests:
        under_way.pop(0).result()
        under_way.append(stub.UpsertItems.future(request))
    for call in under_way:
        call.result()
    return time.perf_counter() - started_s


def write_items(vectors: NDArray[np.float32], file: Path) -> None:
    """Write the same items as Parquet that `cuelight recommender import` reads."""
    import pyarrow  # noqa: PLC0415 (part of the extra recommender)
    from pyarrow import parquet  # noqa: PLC0415

    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), vectors.shape[1])
    parquet.write_table(pyarrow.table({"item_id": [str(row) for row in range(len(vectors))], SPACE: column}), file)


def await_models(stub: pb_grpc.RecommenderServiceStub) -> None:
    """Return once every model can be asked. Raises: TimeoutError."""
    limit_s = time.perf_counter() + _MODELS_LIMIT_S
    # A model that is trained apart comes when it is trained, and is not measured.
    while True:
        models = stub.ListModels(pb.ListModelsRequest()).models
        if all(model.ready for model in models if model.name in FITTED_NAMES):
            return
        if time.perf_counter() > limit_s:
            raise TimeoutError(f"models are not ready after {_MODELS_LIMIT_S:g} s")
        time.sleep(0.1)


def metric(server: RunningServer, name: str) -> float:
    """Return a metric of the server now. Raises: KeyError when there is none of that name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=30) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    if found is None:
        raise KeyError(name)
    return float(found[1])


def run_cuelight(command: str, data: Path, *words: str) -> str:
    """Run a command of the recommender and return what it prints. Raises: RuntimeError when it fails."""
    line = [sys.executable, "-m", "cuelight.server", "recommender", command, "--data", str(data), *words]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(line)}: {ran.stderr.strip()}")
    return ran.stdout
