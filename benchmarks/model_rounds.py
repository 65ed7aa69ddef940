"""One exported model measured: FP32 and int8, in process and served, the systems in turns within each round."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.grpc_wire import framed_in_parts
from benchmarks.model_calls import INFER_PATH, infer_request, linked_repository, measure_calls, measure_steps
from benchmarks.model_cases import Case, TypedCall, case_of, typed_call
from benchmarks.model_in_process import TRY_S, Way, best_way, in_process_rows, onnxruntime_steps, torch_steps, ways
from benchmarks.servers import RunningServer, cuelight_server
from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.quantize.methods import quantized_name
from cuelight.exporters.spec import ExportSpec

__all__ = ["AT_ONCE", "FRONTS", "Settings", "measure_model", "middle", "model_file"]

AT_ONCE = (1, 32)
FRONTS = ("grpcio", "envoy")
STEPS = "steps"
INFER = "ModelInfer"

Measure = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is measured, and where its exports and weights are."""

    repository: Path
    cache_dir: Path
    cores: int
    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Workload:
    """Calls of a model, so many at a time: what each system does of them. `call` is "" for what is in process."""

    precision: str
    at_once: int
    systems: Mapping[tuple[str, str], Measure]
    how: Mapping[str, str]


def measure_model(spec: ExportSpec | FilesSpec, folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Return the figures of a model's workloads, a row a call, precision and number of calls at a time."""
    case, typed = case_of(spec), typed_call(spec, settings.cache_dir)
    module = spec.build(settings.cache_dir) if isinstance(spec, ExportSpec) else None
    names = {"fp32": spec.name, "int8": quantized_name(spec.name, "int8-dynamic")}
    there = {one: name for one, name in names.items() if (settings.repository / name).is_dir()}
    needs = typed.needs if typed is not None else ()
    source = linked_repository(folder / spec.name, settings.repository, [*there.values(), *needs])
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = {front: stack.enter_context(cuelight_server(source, front)) for front in FRONTS}
        workloads = [
            _workload(case, name, precision, at_once, servers, settings, module if precision == "fp32" else None)
            for precision, name in there.items()
            for at_once in AT_ONCE
        ]
        if typed is not None:
            workloads = [_with_typed(one, typed, servers, settings.seconds) for one in workloads]
        found: list[dict[tuple[str, str], list[dict[str, Any]]]] = [{} for _ in workloads]
        for _ in range(settings.rounds):
            for workload, samples in zip(workloads, found, strict=True):
                for system, measure in workload.systems.items():
                    samples.setdefault(system, []).append(measure())
        for workload, samples in zip(workloads, found, strict=True):
            rows += _rows(spec.name, case, workload, samples, typed)
    return rows


def model_file(repository: Path, name: str) -> Path:
    """Return the file of a model's newest version. Raises: FileNotFoundError."""
    versions = [path for path in (repository / name).glob("*/model.onnx") if path.parent.name.isdecimal()]
    if not versions:
        raise FileNotFoundError(f"{repository / name}: no version of it")
    return max(versions, key=lambda path: int(path.parent.name))


def middle(samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the medians over the rounds, and all failures together."""
    figures = {key: statistics.median(one[key] for one in samples) for key in samples[0]}
    if "failed" in figures:
        figures["failed"] = sum(one["failed"] for one in samples)
    return figures


def _workload(
    case: Case,
    name: str,
    precision: str,
    at_once: int,
    servers: Mapping[str, RunningServer],
    settings: Settings,
    module: nn.Module | None,
) -> _Workload:
    rows, seconds = min(at_once, case.max_rows), settings.seconds
    file = model_file(settings.repository, name)
    systems: dict[tuple[str, str], Measure] = {}
    how: dict[str, str] = {}
    found = ways(rows, settings.cores, at_once)
    if module is not None:
        torch_way = max(found, key=lambda one: _torch(module, case, one, TRY_S)["per_s"])
        systems["", "torch"] = partial(_torch, module, case, torch_way, seconds)
        how["torch"] = str(torch_way)
    way = best_way(found, partial(onnxruntime_steps, file, case))
    steps = onnxruntime_steps(file, case, way)
    systems["", "onnxruntime"] = lambda: asdict(in_process_rows(steps, way, seconds))
    how["onnxruntime"] = str(way)
    call = STEPS if case.state else INFER
    body = framed_in_parts(infer_request(name, case.inputs(1)).SerializeToString())
    for front, server in servers.items():
        if case.state:
            systems[call, front] = partial(measure_steps, server, name, case, at_once, seconds)
        else:
            systems[call, front] = partial(measure_calls, server, INFER_PATH, body, at_once, seconds)
    return _Workload(precision, at_once, systems, how)


def _with_typed(
    workload: _Workload, typed: TypedCall, servers: Mapping[str, RunningServer], seconds: float
) -> _Workload:
    """Return the workload with the typed service's call, which is measured in FP32."""
    if workload.precision != "fp32":
        return workload
    more = {
        (typed.name, front): partial(measure_calls, server, typed.path, typed.body, workload.at_once, seconds)
        for front, server in servers.items()
    }
    return _Workload(workload.precision, workload.at_once, {**workload.systems, **more}, workload.how)


def _torch(module: nn.Module, case: Case, way: Way, seconds: float) -> dict[str, Any]:
    with torch_steps(module, case, way) as steps:
        return asdict(in_process_rows(steps, way, seconds))


def _rows(
    name: str,
    case: Case,
    workload: _Workload,
    samples: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
    typed: TypedCall | None,
) -> list[dict[str, Any]]:
    """Return a row for each call that was made."""
    in_process = {
        system: {**middle(found), "how": workload.how[system]} for (call, system), found in samples.items() if not call
    }
    calls = dict.fromkeys(call for call, _ in samples if call)
    return [
        {
            "model": name,
            "sizes": case.sizes,
            "precision": workload.precision,
            "call": call,
            "at_once": workload.at_once,
            "same_work": typed is None or call != typed.name or typed.same_work,
            "systems": in_process | {front: middle(samples[call, front]) for front in FRONTS},
        }
        for call in calls
    ]
