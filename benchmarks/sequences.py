"""How fast live sequences step, against a bare grpcio echo of the same messages and against the bare model.

N streams, each a live sequence of an LSTM with 256 units, send a step and wait for its answer: what N voices do, as
fast as they can. Measured with batching (64 rows) and without (1 row), on both fronts, the systems in turn within each
round; for 64 streams also with several steps under way. Then what a sequence costs that does nothing: memory, and the
time of another one's step. `python benchmarks/sequences.py [--rounds 3] [--seconds 3] [--out benchmarks/results]`
prints tables and writes them as Markdown and JSON, with a plot.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.load import Measurement  # noqa: E402 (the path above)
from benchmarks.lstm import BATCHED, SINGLE, STATE_BYTES, framed, step_request, steps_per_s, write_lstms  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.ping_pong import measure_ping_pong  # noqa: E402
from benchmarks.sequence_report import plot, tables  # noqa: E402
from benchmarks.servers import RunningServer, cuelight_server, echo_server  # noqa: E402
from cuelight.inference.v1 import sequences_pb2 as seq  # noqa: E402
from cuelight.inference.v1 import sequences_pb2_grpc as seq_grpc  # noqa: E402
from cuelight.inference.v2 import open_inference_pb2 as pb  # noqa: E402
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc  # noqa: E402

STREAMS = (1, 4, 16, 64, 256, 1024, 4096)
UNDER_WAY = (4, 16)
AT_ONCE = 64
IDLE = 4096
CALLS = 300


@dataclass(frozen=True, slots=True)
class Workload:
    """So many live streams, each with so many steps under way."""

    streams: int
    under_way: int


def main() -> int:
    """Measure, print and write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options.rounds, options.seconds, tuple(options.streams))
    text = tables(result)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "sequences.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "sequences.md").write_text(text + "\n")
    plot(result, options.out / "sequences.png")
    return 0


def run(folder: Path, rounds: int, seconds: float, streams: tuple[int, ...]) -> dict[str, Any]:
    """Return every figure of the run."""
    repository = folder / "models"
    write_lstms(repository)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    in_process = {rows: steps_per_s(repository, rows) for rows in (1, 4, 16, 64)}
    samples: dict[tuple[Workload, str], list[Measurement]] = {}
    workloads = [*(Workload(count, 1) for count in streams), *(Workload(AT_ONCE, ahead) for ahead in UNDER_WAY)]
    with ExitStack() as stack:
        servers = {
            "echo": stack.enter_context(echo_server()),
            "grpcio": stack.enter_context(cuelight_server(repository, "grpcio")),
            "envoy": stack.enter_context(cuelight_server(repository, "envoy")),
        }
        systems = [("echo", BATCHED), *((front, model) for front in ("grpcio", "envoy") for model in (BATCHED, SINGLE))]
        for workload in tqdm([workload for _ in range(rounds) for workload in workloads], unit="size"):
            for server, model in systems:
                sample = measure_steps(servers[server].port, model, workload.streams, seconds, workload.under_way)
                samples.setdefault((workload, f"{server} {model}"), []).append(sample)
        return {
            "machine": machine(cores),
            "rounds": rounds,
            "seconds": seconds,
            "in_process": in_process,
            "streams": [
                {
                    **asdict(workload),
                    "systems": {name: middle(found) for (of, name), found in samples.items() if of == workload},
                }
                for workload in workloads
            ],
            "idle": {front: idle_costs(repository, front, seconds) for front in ("grpcio", "envoy")},
        }


def measure_steps(port: int, model: str, streams: int, seconds: float, under_way: int = 1) -> Measurement:
    """Step that many sequences, so many messages of each under way."""
    messages = [
        (framed(step_request(model, f"s{index}", start=True)), framed(step_request(model, f"s{index}")))
        for index in range(streams)
    ]
    return measure_ping_pong(port, messages, seconds, under_way)


def middle(measurements: list[Measurement]) -> dict[str, float]:
    """Return the medians over the rounds."""
    return {
        "per_s": statistics.median(one.per_s for one in measurements),
        "p50_ms": statistics.median(one.p50_ms for one in measurements),
        "p99_ms": statistics.median(one.p99_ms for one in measurements),
    }


def idle_costs(repository: Path, front: str, seconds: float) -> dict[str, float]:
    """Return what 4,096 sequences cost that do nothing, and what export and import take beside a bare call.

    On a server of its own: one that has been under load gives memory back meanwhile.
    """
    with cuelight_server(repository, front) as server:
        return _idle_costs(server, seconds)


def _idle_costs(server: RunningServer, seconds: float) -> dict[str, float]:
    alone = measure_steps(server.port, BATCHED, 1, seconds)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        infer = pb_grpc.GRPCInferenceServiceStub(channel)
        for index in range(IDLE):  # a first time, so that what the server keeps for good is not counted
            infer.ModelInfer(step_request(BATCHED, f"warm {index}", start=True, end=True))
        before = server.memory_mib()
        for index in range(IDLE):
            infer.ModelInfer(step_request(BATCHED, f"idle {index}", start=True))
        held = server.memory_mib() - before
        among = measure_steps(server.port, BATCHED, 1, seconds)
        sequences = seq_grpc.SequenceServiceStub(channel)
        export = seq.ExportSequenceRequest(model_name=BATCHED, sequence_id=seq.SequenceId(text="idle 7"))
        token = sequences.ExportSequence(export).resume_token
        restore = seq.ImportSequenceRequest(resume_token=token, sequence_id=seq.SequenceId(text="idle 8"))
        step = step_request(BATCHED, "idle 9")
        return {
            "bytes_each": held * 2**20 / IDLE - STATE_BYTES,
            "p50_ms_alone": alone.p50_ms,
            "p50_ms_among_idle": among.p50_ms,
            "token_bytes": len(token),
            "ready_call_ms": _median_ms(lambda: infer.ServerLive(pb.ServerLiveRequest())),
            "step_call_ms": _median_ms(lambda: infer.ModelInfer(step)),
            "export_call_ms": _median_ms(lambda: sequences.ExportSequence(export)),
            "import_call_ms": _median_ms(lambda: sequences.ImportSequence(restore)),
        }


def _median_ms(call: Any) -> float:
    call()
    taken_s = []
    for _ in range(CALLS):
        started_s = time.perf_counter()
        call()
        taken_s.append(time.perf_counter() - started_s)
    return statistics.median(taken_s) * 1000


if __name__ == "__main__":
    sys.exit(main())
