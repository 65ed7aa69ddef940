"""The recommender on likes: shelves of every model, interactions absorbed one by one and in bulk, shelves meanwhile."""

import itertools
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.closed_loop import percentiles_ms, run_flows
from benchmarks.likes import Likes, made_up_likes, write_likes
from benchmarks.recommender_calls import (
    N,
    await_models,
    figures,
    flow,
    interactions,
    metric,
    opened,
    recommend_requests,
    run_cuelight,
    sampled_figures,
)
from benchmarks.servers import RunningServer, recommender_server
from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc

__all__ = ["MODELS", "fit_lines", "measure_fit", "measure_likes", "middle"]

FRONTS = ("grpcio", "envoy")
MODELS = ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease", "als", "hybrid")
SHELVES = ((1, False), (8, False), (32, False), (1, True), (32, True))
"""Calls at a time, and whether reasons are asked for."""
ASKED_USERS = 1000
SHELF_S, SHELF_WARM_S = 0.6, 0.3
"""Shorter than the other measurements: there are seventy."""
SINGLES = 100
IN_FLIGHT = 64
GOAL_PER_S = 1000.0
BATCH_EVENTS, BATCH_MESSAGES = 100, 5
_CATCH_UP_LIMIT_S = 120.0


def measure_likes(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Return every figure on likes in the shape of MovieLens 1M."""
    likes = made_up_likes()
    data = folder / FRONTS[0]
    started_s = time.perf_counter()
    interactions_file, items_file = write_likes(likes, folder)
    imported = run_cuelight("import", data, "--interactions", str(interactions_file), "--items", str(items_file))
    import_s = time.perf_counter() - started_s
    assert f"{len(likes.users)} events" in imported, imported
    for front in FRONTS[1:]:
        shutil.copytree(data, folder / front)
    with ExitStack() as stack:
        servers = {front: stack.enter_context(recommender_server(folder / front, front)) for front in FRONTS}
        stubs = {front: _stub(stack, server) for front, server in servers.items()}
        for stub in stubs.values():
            await_models(stub)
        loaded_mib = {front: server.memory_mib() for front, server in servers.items()}
        shelves = _shelves(servers, stubs, rounds, min(seconds, SHELF_S))
        new_event = _event_source(likes)
        return {
            "users": len(np.unique(likes.users)),
            "items": len(likes.genres),
            "likes": len(likes.users),
            "import_s": import_s,
            "ready_after_s": {front: server.ready_after_s for front, server in servers.items()},
            "memory_mib": loaded_mib,
            "shelves": shelves,
            "absorbed": {front: _absorbed(servers[front], stubs[front], new_event) for front in FRONTS},
            "sustained": [
                {"how": how, **{front: _sustained(servers[front], how, new_event, rounds, seconds) for front in FRONTS}}
                for how in _SUSTAINED
            ],
            "memory_after_mib": {front: server.memory_mib() for front, server in servers.items()},
        }


def measure_fit(folder: Path) -> dict[str, Any]:
    """Return what it takes to fit every classical model of MovieLens 100K, and to serve from it."""
    data = folder / "movielens"
    run_cuelight("import", data, "--movielens-100k")
    models = fit_lines(run_cuelight("fit", data))
    served: dict[str, dict[str, float]] = {}
    for front in FRONTS:
        with ExitStack() as stack:
            server = stack.enter_context(recommender_server(data, front))
            await_models(_stub(stack, server))
            served[front] = {"ready_after_s": server.ready_after_s, "memory_mib": server.memory_mib()}
    return {"models": models, "all_s": sum(one["fit_s"] for one in models.values()), "served": served}


def fit_lines(printed: str) -> dict[str, dict[str, float]]:
    """Return what `cuelight recommender fit` prints: seconds and MiB by model."""
    rows = [line.split() for line in printed.splitlines()]
    found = {
        row[0]: {"fit_s": float(row[1]), "keeps_mib": float(row[3])}
        for row in rows
        if len(row) == 5 and row[2] == "s" and row[4] == "MiB"
    }
    return found


def middle(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds; of failures, all together."""
    medians = {key: statistics.median(one[key] for one in found) for key in found[0]}
    return medians | {"failed": sum(one["failed"] for one in found)} if "failed" in medians else medians


def _shelves(
    servers: dict[str, RunningServer],
    stubs: dict[str, pb_grpc.RecommenderServiceStub],
    rounds: int,
    seconds: float,
) -> list[dict[str, Any]]:
    """Return rates and latencies of Recommend by model, calls at a time, and with and without reasons."""
    users = [f"viewer {user}" for user in np.random.default_rng(2).permutation(ASKED_USERS).tolist()]
    workloads = [(model, calls, explain) for model in MODELS for calls, explain in SHELVES]
    samples: dict[tuple[str, int, bool, str], list[dict[str, float]]] = {}
    for front, stub in stubs.items():
        _check_shelves(stub, users[0], front)
    for model, calls, explain in tqdm([one for _ in range(rounds) for one in workloads], desc="shelves"):
        for front, server in servers.items():
            asked = flow(server, "Recommend", recommend_requests(users, model, explain), calls)
            found = figures(server, asked, seconds, SHELF_WARM_S)
            samples.setdefault((model, calls, explain, front), []).append(found)
    return [
        {
            "model": model,
            "calls": calls,
            "explain": explain,
            "systems": {front: middle(samples[model, calls, explain, front]) for front in servers},
        }
        for model, calls, explain in workloads
    ]


def _check_shelves(stub: pb_grpc.RecommenderServiceStub, user: str, front: str) -> None:
    """Raise RuntimeError unless every model answers with a full shelf of its own."""
    for model in MODELS:
        options = pb.ShelfOptions(model=model, n=N, explain=True)
        request = pb.RecommendRequest(queries=[pb.Query(user_id=user)], options=options)
        shelf = stub.Recommend(request).shelves[0]
        if shelf.cold or shelf.model != model or len(shelf.items) != N or not shelf.items[0].reasons:
            raise RuntimeError(f"{front}: expected {N} items of {model} with reasons, got {shelf}")


def _event_source(likes: Likes) -> Callable[[], pb.Interaction]:
    """Return a function that makes up the next event: a known user likes a known item, popular ones more often."""
    generator = np.random.default_rng(3)
    users, items = generator.permutation(likes.users), generator.permutation(likes.items)
    count = itertools.count()

    def new_event() -> pb.Interaction:
        number = next(count)
        user, item = users[number % len(users)], items[number % len(items)]
        return pb.Interaction(event_id=f"bench {number}", user_id=f"viewer {user}", item_id=f"film {item}")

    return new_event


def _absorbed(
    server: RunningServer, stub: pb_grpc.RecommenderServiceStub, new_event: Callable[[], pb.Interaction]
) -> dict[str, dict[str, float]]:
    """Return how long single interactions take, one after the other: to the acknowledgement, and to the inverse."""
    acknowledged_s, known_s = [], []
    for _ in range(SINGLES):
        request = pb.RecordInteractionsRequest(interactions=[new_event()])
        started_s = time.perf_counter()
        stub.RecordInteractions(iter([request]))
        acknowledged_s.append(time.perf_counter() - started_s)
        _caught_up_s(server)
        known_s.append(time.perf_counter() - started_s)
    return {"acknowledged": percentiles_ms(acknowledged_s), "inverse_knows": percentiles_ms(known_s)}


_SUSTAINED: dict[str, tuple[int, int, int, float | None]] = {
    f"{IN_FLIGHT} calls of one event at a time": (1, 1, IN_FLIGHT, None),
    f"the same, {GOAL_PER_S:,.0f} events/s": (1, 1, IN_FLIGHT, GOAL_PER_S),
    f"one stream, {BATCH_EVENTS} events a message": (BATCH_EVENTS, BATCH_MESSAGES, 1, None),
    "none": (1, 1, 0, None),
}
"""Events a message, messages a call, calls at a time, calls a second. The last: what shelves take without any."""


def _sustained(
    server: RunningServer, how: str, new_event: Callable[[], pb.Interaction], rounds: int, seconds: float
) -> dict[str, float]:
    """Return events a second, and the latency of EASE's shelves, one at a time, while they are recorded."""
    events, messages, calls, per_s = _SUSTAINED[how]
    users = [f"viewer {user}" for user in range(ASKED_USERS)]
    found = []
    for _ in range(rounds):
        flows = [flow(server, "Recommend", recommend_requests(users, "ease", False), 1)]
        if calls:
            told = interactions(new_event, events, messages)
            flows.append(flow(server, "RecordInteractions", told, calls, per_s))
        before_s, started_s = server.cpu_s(), time.perf_counter()
        shelves, *written = run_flows(flows, seconds)
        used_cores = (server.cpu_s() - before_s) / (time.perf_counter() - started_s)
        writes = sampled_figures(written[0]) if written else {}
        found.append(
            {
                "events_per_s": writes.get("per_s", 0.0) * events * messages,
                **{f"event_{key}": value for key, value in writes.items() if key != "per_s"},
                **{f"shelf_{key}": value for key, value in sampled_figures(shelves).items()},
                "catch_up_s": _caught_up_s(server),
                "server_cores": used_cores,
            }
        )
    return middle(found)


def _caught_up_s(server: RunningServer) -> float:
    """Return how long EASE's inverse takes from now on until it knows everything. Raises: TimeoutError."""
    started_s = time.perf_counter()
    while metric(server, "cuelight_recommender_inverse_behind"):
        if time.perf_counter() > started_s + _CATCH_UP_LIMIT_S:
            raise TimeoutError(f"EASE's inverse is behind after {_CATCH_UP_LIMIT_S:g} s")
    return time.perf_counter() - started_s


def _stub(stack: ExitStack, server: RunningServer) -> pb_grpc.RecommenderServiceStub:
    return pb_grpc.RecommenderServiceStub(stack.enter_context(opened(server)))
