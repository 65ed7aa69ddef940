"""What a model version has done since it was loaded, in the terms of ModelStatistics.

Plain integers, owned by the event loop; nanoseconds throughout, as on the wire.
"""

import time
from dataclasses import dataclass, field

__all__ = ["BatchStatistics", "Duration", "VersionStatistics"]


@dataclass(slots=True)
class Duration:
    """How often something happened and how long it took in all, in nanoseconds."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Add `count` happenings that took `ns` nanoseconds together."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchStatistics:
    """The executions of one batch size (rows actually run)."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class VersionStatistics:
    """The figures of one loaded version.

    `inference_count` counts rows, `execution_count` runs of the model; `queue` is from arrival to the start of the
    batch, `compute_input` gathering it, `compute_infer` the run, `compute_output` handing the results back.
    """

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    cancel: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)
    """Rows in the batch -> its figures."""

    def record_request(self, rows: int, *, queue_ns: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Count one request that was computed: its rows, its wait, and the durations of the batch it was in."""
        self.inference_count += rows
        self.queue.count += 1
        self.queue.ns += queue_ns
        self.compute_input.count += 1
        self.compute_input.ns += input_ns
        self.compute_infer.count += 1
        self.compute_infer.ns += infer_ns
        self.compute_output.count += 1
        self.compute_output.ns += output_ns

    def record_execution(self, rows: int, *, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Count one run of the model over `rows` rows."""
        self.execution_count += 1
        self.last_inference_ms = time.time_ns() // 1_000_000
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.compute_input.add(input_ns)
        batch.compute_infer.add(infer_ns)
        batch.compute_output.add(output_ns)
