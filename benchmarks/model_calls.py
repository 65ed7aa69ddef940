"""An exported model behind a server: its calls, so many at a time, with the CPU time that each costs the server."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path

from benchmarks.closed_loop import Flow, percentiles_ms, run_flows
from benchmarks.grpc_wire import GrpcWire, framed
from benchmarks.model_cases import Case
from benchmarks.ping_pong import measure_ping_pong
from benchmarks.servers import RunningServer
from cuelight.exporters.spec import Arrays
from cuelight.inference.v2 import open_inference_pb2 as pb

__all__ = ["INFER_PATH", "Served", "infer_request", "linked_repository", "measure_calls", "measure_steps"]

Served = dict[str, float]
"""Calls a second, latencies, the server's CPU time a call, cores of server and load generator, calls that failed."""

INFER_PATH = "/inference.GRPCInferenceService/ModelInfer"
_DATATYPES = {"float32": "FP32", "uint8": "UINT8", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}
_MOST_CONNECTIONS = 8
_WARM_S = 0.5


def infer_request(model: str, inputs: Arrays, sequence_id: str = "", *, start: bool = False) -> pb.ModelInferRequest:
    """Return a call of the model on one row; with a sequence id, a step of that sequence."""
    request = pb.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    if sequence_id:
        request.parameters["sequence_id"].string_param = sequence_id
    if start:
        request.parameters["sequence_start"].bool_param = True
    return request


def measure_calls(server: RunningServer, path: str, body: Sequence[bytes], at_once: int, seconds: float) -> Served:
    """Keep so many calls of one method under way."""
    connections = min(_MOST_CONNECTIONS, at_once)
    flow = Flow(("127.0.0.1", server.port), partial(GrpcWire, path), repeat(body), at_once, connections)

    def run() -> Served:
        [sampled] = run_flows([flow], seconds, _WARM_S)
        told = {"per_s": sampled.per_s, **percentiles_ms(sampled.latencies_s), "failed": float(sampled.failed)}
        return {**told, "client_cores": sampled.client_cores}

    return _with_cpu(server, run)


def measure_steps(server: RunningServer, model: str, case: Case, at_once: int, seconds: float) -> Served:
    """Keep so many live sequences stepping, each on a stream of its own that waits for every answer."""
    inputs = {name: array for name, array in case.inputs(1).items() if name not in case.state}
    messages = [
        tuple(
            framed(infer_request(model, inputs, f"s{index}", start=start).SerializeToString())
            for start in (True, False)
        )
        for index in range(at_once)
    ]

    def run() -> Served:
        own_s, started_s = time.process_time(), time.perf_counter()
        found = measure_ping_pong(server.port, [(first, second) for first, second in messages], seconds)
        cores = (time.process_time() - own_s) / (time.perf_counter() - started_s)
        told = {"per_s": found.per_s, "p50_ms": found.p50_ms, "p99_ms": found.p99_ms, "failed": float(found.failed)}
        return {**told, "client_cores": cores}

    return _with_cpu(server, run)


def linked_repository(folder: Path, source: Path, models: Sequence[str]) -> Path:
    """Make a repository that holds some models of another one, and return it."""
    folder.mkdir()
    for model in models:
        (folder / model).symlink_to((source / model).resolve(), target_is_directory=True)
    return folder


def _with_cpu(server: RunningServer, run: Callable[[], Served]) -> Served:
    """Add the server's CPU time a call: its share of the cores, warm-up included, over the rate.

    Raises: RuntimeError when no call came back.
    """
    before_s, started_s = server.cpu_s(), time.perf_counter()
    found = run()
    cores = (server.cpu_s() - before_s) / (time.perf_counter() - started_s)
    if not found["per_s"]:
        raise RuntimeError(f"no call was answered, {found['failed']:.0f} failed")
    return {**found, "server_cores": cores, "cpu_ms": cores * 1000 / found["per_s"]}
