"""`kill -9` of a real server under 500 interactions/s: what was acknowledged is there, once, and it serves again soon.

Five kills a front; `CUELIGHT_KILLS=50` for more. The times from the start of a process until it is ready are printed
(`pytest -s`), and only a bound that a slow machine keeps is asserted.
"""

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import grpc
import pytest

from cuelight.recommender.v1 import recommender_pb2 as pb
from cuelight.recommender.v1 import recommender_pb2_grpc as pb_grpc
from cuelight.server.recommender.store.snapshot import Snapshot
from tests.serve_process import FRONTS, ServeProcess, running_recommender

KILLS = int(os.environ.get("CUELIGHT_KILLS", "5"))
EVENTS_PER_S = 500
EVENTS_PER_CALL = 10
LONGEST_LIFE_S = 0.8
SLOWEST_START_S = 20.0
TIMEOUT_S = 30.0

Batch = tuple[int, ...]
"""Numbers of events that are told in one message, and so are kept as a whole or not at all."""


@dataclass
class Told:
    """What a caller knows: batches that were acknowledged, and those that may have been recorded."""

    acknowledged: list[Batch] = field(default_factory=list)
    unknown: list[Batch] = field(default_factory=list)


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_nothing_acknowledged_is_lost_and_nothing_counts_twice(front: str, tmp_path: Path) -> None:
    generator = random.Random(KILLS)
    numbers = (tuple(range(first, first + EVENTS_PER_CALL)) for first in count(0, EVENTS_PER_CALL))
    told, started_s, rates = Told(), [], []
    kept: set[int] = set()
    for _ in range(KILLS):
        before_s = time.perf_counter()
        with running_recommender(tmp_path / "data", tmp_path / "log", front=front) as server:
            started_s.append(time.perf_counter() - before_s)
            assert models_of(server).events == len(kept), "what the store has is what it serves from"
            again, told.unknown = told.unknown, []
            rates.append(tell_until_killed(server, told, again, numbers, generator.uniform(0.0, LONGEST_LIFE_S)))
        kept = check_folder(tmp_path / "data", told, kept)
    started_s.sort()
    figures = f"from {started_s[0]:.2f} over {statistics.median(started_s):.2f} to {started_s[-1]:.2f} s"
    events = sum(map(len, told.acknowledged))
    print(f"\n{front}: {KILLS} kills, {events} events acknowledged, {statistics.mean(rates):.0f}/s; start {figures}")
    assert events > 0
    assert started_s[-1] < SLOWEST_START_S


def models_of(server: ServeProcess) -> pb.ListModelsResponse:
    with grpc.insecure_channel(server.target) as channel:
        return pb_grpc.RecommenderServiceStub(channel).ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S)


def tell_until_killed(
    server: ServeProcess, told: Told, again: Sequence[Batch], numbers: Iterator[Batch], life_s: float
) -> float:
    """Tell what is not known to be recorded once more, and new events at a steady rate; return events/s."""
    dead = threading.Event()

    def kill() -> None:
        server.signal(signal.SIGKILL)
        dead.set()

    with grpc.insecure_channel(server.target) as channel:
        record = pb_grpc.RecommenderServiceStub(channel).RecordInteractions
        waiting = [(batch, record.future(iter([message_of(batch)]), timeout=TIMEOUT_S)) for batch in again]
        threading.Timer(life_s, kill).start()
        began_s = time.perf_counter()
        for calls in count(1):
            if dead.wait(max(0.0, began_s + calls * EVENTS_PER_CALL / EVENTS_PER_S - time.perf_counter())):
                break
            batch = next(numbers)
            waiting.append((batch, record.future(iter([message_of(batch)]), timeout=TIMEOUT_S)))
        told_s = time.perf_counter() - began_s
        for batch, call in waiting:
            (told.unknown if call.exception() else told.acknowledged).append(batch)
    server.exit_code()
    return (len(waiting) - len(again)) * EVENTS_PER_CALL / told_s


def message_of(batch: Batch) -> pb.RecordInteractionsRequest:
    """One of them is told twice."""
    interactions = [
        pb.Interaction(event_id=f"e{n}", user_id=f"user {n % 50}", item_id=f"item {n % 31}") for n in (*batch, batch[0])
    ]
    return pb.RecordInteractionsRequest(interactions=interactions)


def check_folder(data: Path, told: Told, kept_before: set[int]) -> set[int]:
    """Return the numbers of the events in the folder, once they are what they have to be."""
    with Snapshot(data) as snapshot:
        found = [int(event.id[1:]) for event in snapshot.events(all_events=True)]
    kept = set(found)
    assert len(kept) == len(found), "an event counts twice"
    assert kept >= kept_before, "what was there once is there"
    for batch in told.acknowledged:
        assert kept.issuperset(batch), "what was acknowledged is there"
    for batch in told.unknown:
        assert kept.issuperset(batch) or kept.isdisjoint(batch), "a message is kept as a whole or not at all"
    assert kept <= {n for batch in (*told.acknowledged, *told.unknown) for n in batch}, "nobody told of it"
    return kept
