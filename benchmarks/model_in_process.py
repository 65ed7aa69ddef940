"""An exported model with nothing in between: PyTorch eager and ONNX Runtime in this process, on the server's cores.

A `Way` is how rows are computed: how many at once, by how many workers with how many threads each. The best way of
those there are is found by trying each for a moment, and then measured in turns with the server.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch
from torch import nn

from benchmarks.model_cases import Case
from cuelight.exporters.spec import Arrays

__all__ = ["TRY_S", "InProcess", "Way", "best_way", "in_process_rows", "onnxruntime_steps", "torch_steps", "ways"]

Step = Callable[[], Sequence[Any]]
"""Computes a worker's next batch and returns its outputs; of a model with state, from what came out before."""
TRY_S = 0.25
"""How long a way is tried before one is chosen."""


@dataclass(frozen=True, slots=True)
class Way:
    """So many rows at once, by so many workers of so many threads each."""

    rows: int
    workers: int
    threads: int

    def __str__(self) -> str:
        each = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"batch {self.rows}, {self.workers} x {each}"


@dataclass(frozen=True, slots=True)
class InProcess:
    """What came out: rows a second, and the CPU time of a row on all threads."""

    per_s: float
    cpu_ms: float


def ways(most_rows: int, cores: int, at_once: int) -> list[Way]:
    """Return the batch sizes that a server pads to, 1, 2, 4 ... and the largest, each way to use the cores.

    One call at a time leaves nothing for a second worker: it has all cores, or one, which small models are faster on.
    """
    sizes = sorted({min(1 << power, most_rows) for power in range(most_rows.bit_length() + 1)})
    split = {(1, cores), (1, 1)} if at_once == 1 else {(1, cores), (cores, 1)}
    return [Way(rows, count, threads) for rows in sizes for count, threads in sorted(split)]


def best_way(found: Sequence[Way], steps_of: Callable[[Way], list[Step]], try_s: float = TRY_S) -> Way:
    """Return the way that computes the most rows a second in a moment of trying."""
    return max(found, key=lambda way: in_process_rows(steps_of(way), way, try_s).per_s)


def in_process_rows(steps: Sequence[Step], way: Way, seconds: float) -> InProcess:
    """Let each worker step for that long after a first step that does not count. Raises: what a step raises."""
    counts = [0] * len(steps)
    ready, stop = threading.Barrier(len(steps) + 1), threading.Event()

    def work(index: int) -> None:
        try:
            steps[index]()
        except BaseException:
            ready.abort()
            raise
        with contextlib.suppress(threading.BrokenBarrierError):
            ready.wait()
        while not (stop.is_set() or ready.broken):
            steps[index]()
            counts[index] += way.rows

    with ThreadPoolExecutor(len(steps)) as threads:
        workers = [threads.submit(work, index) for index in range(len(steps))]
        with contextlib.suppress(threading.BrokenBarrierError):
            ready.wait()
        started_s, cpu_s = time.perf_counter(), time.process_time()
        wait(workers, seconds, FIRST_EXCEPTION)
        stop.set()
    for worker in workers:
        worker.result()
    # Batches that were under way at the end are counted, and so is their time.
    took_s, used_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    return InProcess(sum(counts) / took_s, used_s * 1000 / sum(counts))


def onnxruntime_steps(model: Path, case: Case, way: Way) -> list[Step]:
    """Return a worker's step each: a session that does not spin, as the server has it."""
    return [_onnxruntime_step(_opened(model, way.threads), case, way.rows) for _ in range(way.workers)]


@contextlib.contextmanager
def torch_steps(module: nn.Module, case: Case, way: Way) -> Iterator[list[Step]]:
    """Give a worker's step each, with PyTorch on the threads of `way` until the block is left."""
    before = torch.get_num_threads()
    torch.set_num_threads(way.threads)
    try:
        yield [_torch_step(module, case, way.rows) for _ in range(way.workers)]
    finally:
        torch.set_num_threads(before)


def _opened(model: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _onnxruntime_step(session: ort.InferenceSession, case: Case, rows: int) -> Step:
    taken = {one.name for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    feeds: Arrays = {name: array for name, array in case.inputs(rows).items() if name in taken}
    state = [(name, names.index(output)) for name, output in case.state.items()]

    def step() -> Sequence[Any]:
        outputs: Sequence[Any] = session.run(names, feeds)
        for name, index in state:
            feeds[name] = outputs[index]
        return outputs

    return step


def _torch_step(module: nn.Module, case: Case, rows: int) -> Step:
    tensors = {name: torch.from_numpy(array) for name, array in case.inputs(rows).items()}

    def step() -> Sequence[Any]:
        with torch.inference_mode():
            returned = module(*tensors.values())
        for name, output in case.state.items():
            tensors[name] = returned[case.outputs.index(output)]
        return returned if isinstance(returned, tuple) else (returned,)

    return step
