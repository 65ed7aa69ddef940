"""How fast Cuelight serves, against a bare grpcio echo of the same messages and against the bare model.

Everything is measured in one run on one machine, the systems in turn within each round, so that the ratios hold even
where the machine is noisy. Each figure is the median over the rounds. `python benchmarks/serving.py [--rounds 3]
[--seconds 3] [--out benchmarks/results]` prints a table and writes it as Markdown and JSON, with a plot.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.in_process import best_rows_per_s  # noqa: E402 (the path above)
from benchmarks.load import Measurement, h2load_missing, measure, write_bodies  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.made_models import write_models  # noqa: E402
from benchmarks.ping_pong import measure_ping_pong  # noqa: E402
from benchmarks.report import plot, tables  # noqa: E402
from benchmarks.servers import RunningServer, cuelight_server, echo_server  # noqa: E402

CONCURRENCIES = (1, 8, 32, 64)
STREAMS = 16
SYSTEMS = ("echo", "grpcio", "envoy")


@dataclass(frozen=True, slots=True)
class Workload:
    """One model, called in one way: `concurrency` calls or streams at a time."""

    model: str
    kind: str
    concurrency: int


WORKLOADS = (
    *(Workload(model, "unary", concurrency) for model in ("tiny", "cnn") for concurrency in CONCURRENCIES),
    *(Workload("tiny", "ping-pong", concurrency) for concurrency in (1, STREAMS)),
    *(Workload(model, "stream", STREAMS) for model in ("tiny", "cnn")),
)
"""Unary calls; streams that wait for each answer; streams that send 100 messages ahead."""


def main() -> int:
    """Measure, print and write; return 0, or 2 when the load generator is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if missing := h2load_missing():
        print(missing, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options.rounds, options.seconds)
    text = tables(result)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "serving.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "serving.md").write_text(text + "\n")
    plot(result, options.out / "serving.png")
    return 0


def run(folder: Path, rounds: int, seconds: float) -> dict[str, object]:
    """Return every figure of the run."""
    repository = folder / "models"
    write_models(repository)
    write_bodies(folder)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bare = {model: best_rows_per_s(repository, model, cores, 0.5) for model in ("tiny", "cnn")}
    samples: dict[tuple[Workload, str], list[Measurement]] = {}
    with ExitStack() as stack:
        servers = started(stack, repository)
        idle_mib = {name: server.memory_mib() for name, server in servers.items()}
        for workload in tqdm([workload for _ in range(rounds) for workload in WORKLOADS], unit="workload"):
            for name in SYSTEMS:
                sample = measured(servers[name].port, workload, folder, seconds)
                samples.setdefault((workload, name), []).append(sample)
        loaded_mib = {name: server.memory_mib() for name, server in servers.items()}
    return {
        "machine": machine(cores),
        "rounds": rounds,
        "seconds": seconds,
        "in_process": {model: {"rows_per_s": rate, "how": how} for model, (rate, how) in bare.items()},
        "workloads": [
            {**asdict(workload), "systems": {name: middle(samples[workload, name]) for name in SYSTEMS}}
            for workload in WORKLOADS
        ],
        "ready_after_s": {name: servers[name].ready_after_s for name in SYSTEMS},
        "memory_idle_mib": idle_mib,
        "memory_after_mib": loaded_mib,
        "memory_tiny_mib": {front: tiny_memory_mib(folder, front) for front in ("grpcio", "envoy")},
    }


def measured(port: int, workload: Workload, folder: Path, seconds: float) -> Measurement:
    """Return one measurement of one system."""
    if workload.kind == "ping-pong":
        message = (folder / f"{workload.model}.unary").read_bytes()
        return measure_ping_pong(port, [(message, message)] * workload.concurrency, seconds)
    body = folder / f"{workload.model}.{workload.kind}"
    return measure(port, body, workload.concurrency, seconds, folder / "log")


def started(stack: ExitStack, repository: Path) -> dict[str, RunningServer]:
    """Start every server; they idle while another one is measured."""
    return {
        "echo": stack.enter_context(echo_server()),
        "grpcio": stack.enter_context(cuelight_server(repository, "grpcio")),
        "envoy": stack.enter_context(cuelight_server(repository, "envoy")),
    }


def tiny_memory_mib(folder: Path, front: str) -> float:
    """Return the resident memory of a server with the tiny model alone, after some load."""
    repository = folder / "tiny_only"
    (repository / "tiny").parent.mkdir(exist_ok=True)
    if not (repository / "tiny").exists():
        (repository / "tiny").symlink_to(folder / "models" / "tiny")
    with cuelight_server(repository, front) as server:
        measure(server.port, folder / "tiny.unary", 32, 1.0, folder / "log")
        return server.memory_mib()


def middle(measurements: list[Measurement]) -> dict[str, float]:
    """Return the medians over the rounds, and all failures together."""
    return {
        "per_s": statistics.median(one.per_s for one in measurements),
        "p50_ms": statistics.median(one.p50_ms for one in measurements),
        "p99_ms": statistics.median(one.p99_ms for one in measurements),
        "failed": sum(one.failed for one in measurements),
    }


if __name__ == "__main__":
    sys.exit(main())
