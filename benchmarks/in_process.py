"""What the models reach with nothing in between: ONNX Runtime in this process, at its best batch."""

import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.made_models import INPUT_SHAPES

__all__ = ["best_rows_per_s"]

BATCHES = (1, 2, 4, 8, 16, 32)


def best_rows_per_s(repository: Path, model: str, cores: int, seconds: float) -> tuple[float, str]:
    """Return the most rows a second over batch sizes and ways to use the cores, and which one it was."""
    results: list[tuple[float, str]] = []
    for sessions, threads in {(1, cores), (cores, 1)}:
        for batch in BATCHES:
            rows_per_s = _rows_per_s(repository, model, sessions, threads, batch, seconds)
            results.append((rows_per_s, f"batch {batch}, {sessions} sessions of {threads} threads"))
    return max(results)


def _rows_per_s(repository: Path, model: str, sessions: int, threads: int, batch: int, seconds: float) -> float:
    counts = [0] * sessions
    start = threading.Barrier(sessions + 1)
    stop = threading.Event()

    def work(index: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(
            str(repository / model / "1" / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        feeds = {"INPUT": np.ones((batch, *INPUT_SHAPES[model]), np.float32)}
        session.run(None, feeds)
        start.wait()
        while not stop.is_set():
            session.run(None, feeds)
            counts[index] += batch

    workers = [threading.Thread(target=work, args=(index,)) for index in range(sessions)]
    for worker in workers:
        worker.start()
    start.wait()
    started_s = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    rows_per_s = sum(counts) / (time.perf_counter() - started_s)
    for worker in workers:
        worker.join()
    return rows_per_s
