"""What a model version has done since it was loaded, in the terms of ModelStatistics.

Plain integers, owned by the event loop; nanoseconds throughout, as on the wire. What can be derived is derived when it
is asked for, so that counting an inline request costs five additions.
"""

import time
from bisect import bisect_left
from dataclasses import dataclass, field

__all__ = ["STEP_BOUNDS_S", "BatchStatistics", "Duration", "SequenceCounts", "VersionStatistics"]


STEP_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Upper bounds of the buckets of a sequence's step time, in seconds: a live stream's step is due every 10 to 100 ms."""


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something happened and how long it took in all, in nanoseconds."""

    count: int = 0
    ns: int = 0


@dataclass(slots=True)
class SequenceCounts:
    """What became of sequences since the version was loaded; all but `ended` are part of it or of each other's past."""

    started: int = 0
    resumed: int = 0
    """From a token, here or from another server."""
    ended: int = 0
    """For any reason: an END step, a new START, a stream that was over, idle too long."""
    expired: int = 0
    """Because they were idle too long."""
    exported: int = 0
    """As a token: by call, or to a stream whose server shuts down."""
    step_counts: list[int] = field(default_factory=lambda: [0] * (len(STEP_BOUNDS_S) + 1))
    """Steps by how long they took from arrival to answer, in the buckets of STEP_BOUNDS_S and one above."""
    step_seconds: float = 0.0

    def count_step(self, seconds: float) -> None:
        """Count a step that took so long."""
        self.step_counts[bisect_left(STEP_BOUNDS_S, seconds)] += 1
        self.step_seconds += seconds


class BatchStatistics:
    """The executions of one batch size (rows actually run)."""

    __slots__ = ("executions", "infer_ns", "input_ns", "output_ns")

    def __init__(self) -> None:
        self.executions = 0
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0

    @property
    def compute_input(self) -> Duration:
        """Gathering the batch."""
        return Duration(self.executions, self.input_ns)

    @property
    def compute_infer(self) -> Duration:
        """Running the model."""
        return Duration(self.executions, self.infer_ns)

    @property
    def compute_output(self) -> Duration:
        """Taking the batch's outputs apart."""
        return Duration(self.executions, self.output_ns)


class VersionStatistics:
    """The figures of one loaded version.

    `inference_count` counts rows, `execution_count` runs of the model. Of the durations, each request counts once:
    `queue` is from its arrival to the start of its batch, `compute_input`, `compute_infer` and `compute_output` are
    those of the batch it was in, `success` is all four together.
    """

    __slots__ = (
        "_infer_ns",
        "_input_ns",
        "_last_perf_ns",
        "_output_ns",
        "_queue_ns",
        "_requests",
        "batches",
        "cancel_count",
        "execution_count",
        "fail_count",
        "inference_count",
    )

    def __init__(self) -> None:
        self.inference_count = 0
        self.execution_count = 0
        self.fail_count = 0
        self.cancel_count = 0
        self.batches: dict[int, BatchStatistics] = {}
        self._requests = 0
        self._queue_ns = 0
        self._input_ns = 0
        self._infer_ns = 0
        self._output_ns = 0
        self._last_perf_ns: int | None = None

    def record_inline(self, rows: int, started_ns: int) -> None:
        """Count a request that ran at once and alone: one execution, no queue, nothing to gather or hand out.

        `started_ns` is of `time.perf_counter_ns()`.
        """
        self._last_perf_ns = now_ns = time.perf_counter_ns()
        infer_ns = now_ns - started_ns
        self.inference_count += rows
        self.execution_count += 1
        self._requests += 1
        self._infer_ns += infer_ns
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.executions += 1
        batch.infer_ns += infer_ns

    def record_request(self, rows: int, *, queue_ns: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Count one request that was computed: its rows, its wait, and the durations of the batch it was in."""
        self.inference_count += rows
        self._requests += 1
        self._queue_ns += queue_ns
        self._input_ns += input_ns
        self._infer_ns += infer_ns
        self._output_ns += output_ns

    def record_requests(self, count: int, *, queue_ns: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Count `count` requests of one row that ran in one batch; `queue_ns` is their waits together."""
        self.inference_count += count
        self._requests += count
        self._queue_ns += queue_ns
        self._input_ns += count * input_ns
        self._infer_ns += count * infer_ns
        self._output_ns += count * output_ns

    def record_execution(self, rows: int, *, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Count one run of the model over `rows` rows."""
        self.execution_count += 1
        self._last_perf_ns = time.perf_counter_ns()
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = BatchStatistics()
        batch.executions += 1
        batch.input_ns += input_ns
        batch.infer_ns += infer_ns
        batch.output_ns += output_ns

    @property
    def last_inference_ms(self) -> int:
        """When the model last ran, in milliseconds since the epoch; 0 when it never did."""
        if self._last_perf_ns is None:
            return 0
        return (time.time_ns() - (time.perf_counter_ns() - self._last_perf_ns)) // 1_000_000

    @property
    def success(self) -> Duration:
        """Requests that were answered."""
        return Duration(self._requests, self._queue_ns + self._input_ns + self._infer_ns + self._output_ns)

    @property
    def fail(self) -> Duration:
        """Requests that the model failed on, or that timed out in the queue. Their time is not kept."""
        return Duration(self.fail_count, 0)

    @property
    def cancel(self) -> Duration:
        """Requests whose caller left before they ran."""
        return Duration(self.cancel_count, 0)

    @property
    def queue(self) -> Duration:
        """From a request's arrival to the start of its batch."""
        return Duration(self._requests, self._queue_ns)

    @property
    def compute_input(self) -> Duration:
        """Gathering the batch a request is in."""
        return Duration(self._requests, self._input_ns)

    @property
    def compute_infer(self) -> Duration:
        """Running the batch a request is in."""
        return Duration(self._requests, self._infer_ns)

    @property
    def compute_output(self) -> Duration:
        """Taking apart the outputs of the batch a request is in."""
        return Duration(self._requests, self._output_ns)
