"""One loaded version of a model: its engines, its batcher and its figures, from load to stop.

Loading builds the sessions, warms them up, measures the step, and replays the golden vectors; only a version that
agrees with them is returned. A version whose step costs well under a hop to another thread runs on the event loop
(`inline`), where it answers without a future, a queue or a thread; every other version runs on its engines' threads.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.errors import InferenceFailed
from cuelight.server.inference.batch_queue import BatchingConfig
from cuelight.server.inference.direct_session import DirectSession
from cuelight.server.inference.dynamic_batcher import DynamicBatcher
from cuelight.server.inference.engine import OrtEngine
from cuelight.server.inference.engine_pool import EnginePlan
from cuelight.server.inference.example_requests import request_of_rows
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from cuelight.server.inference.sequence_spec import SequenceSpec
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.slot_engine import SlotEngine
from cuelight.server.inference.statistics import VersionStatistics

__all__ = [
    "INLINE_STEP_S",
    "Companion",
    "ModelVersion",
    "Sequencing",
    "StepTimes",
    "inline_rows_of",
    "measure_steps",
    "paying_rows",
]

Arrays = dict[str, NDArray[Any]]

INLINE_STEP_S = 0.000_15
"""A step below this runs on the event loop: the hop to a thread and back costs about 0.2 ms (measured)."""

_CHEAPER = 0.95
"""What a row in a batch twice as large must cost at most, to be worth the wait for it."""
_LEAST_RUN_S = 0.03
"""A run this long takes a hundred times as long as the hop to a thread and back. Runs of 40 ms instead of 10 gave 3 %
more answers of EfficientNet-Lite0 (measured)."""
_LONGEST_TRIED_S = 0.05
"""A run that takes longer is not tried with more rows: handing it out costs nothing any more."""

_log = logging.getLogger("cuelight.model")


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds that one run takes, by number of rows: what warm-up measured when nothing disturbed it."""

    by_rows: Mapping[int, float]

    @property
    def inline_rows(self) -> int:
        """The most rows whose run may stay on the event loop; 0 when none may."""
        return max((rows for rows, seconds in self.by_rows.items() if seconds < INLINE_STEP_S), default=0)


def measure_steps(engine: OrtEngine, signature: ModelSignature, example: Arrays | None = None) -> StepTimes:
    """Warm the engine up and time it over 1, 2, 4, ... rows for as long as a run may stay on the event loop.

    Sizes that are not fixed are never inline, so such a model is only warmed up, and not timed beyond one row.
    `example` is a request that the model is known to take; without one, zeros have to do.
    """
    by_rows: dict[int, float] = {}
    rows = 1
    while True:
        by_rows[rows] = engine.step_time_s(request_of_rows(signature, rows, example))
        if by_rows[rows] >= INLINE_STEP_S or rows * 2 > signature.max_batch_size or not signature.fixed:
            return StepTimes(by_rows)
        rows *= 2


def paying_rows(engine: OrtEngine, signature: ModelSignature, example: Arrays | None, one_row_s: float) -> int:
    """Return the smallest batch of 1, 2, 4, ... rows that pays, measured on this warm engine.

    That is one whose rows a twice as large one would make no cheaper, and whose run takes much longer than to hand it
    out. `one_row_s` is how long one row takes, in seconds.
    """
    rows, seconds = 1, one_row_s
    while rows * 2 <= signature.max_batch_size and seconds < _LONGEST_TRIED_S:
        twice_s = engine.step_time_s(request_of_rows(signature, rows * 2, example), repeats=2)
        if seconds >= _LEAST_RUN_S and twice_s > seconds * 2 * _CHEAPER:
            break
        rows, seconds = rows * 2, twice_s
    return rows


@dataclass(frozen=True, slots=True)
class Sequencing:
    """What a stateful version has in place of plain engines.

    `batch_difference` is the largest difference that company in a batch makes to a row; 0 means the same bits.
    """

    spec: SequenceSpec
    engines: list[SlotEngine]
    batch_difference: float


class Companion(Protocol):
    """What a service keeps beside a version that it knows more about than its tensors: a recognizer, for speech."""

    async def outlive(self) -> None:
        """Return once nobody uses it any more, or it is closed: the version has been replaced."""
        ...

    def close(self) -> None:
        """Free it: the version stops."""
        ...


class ModelVersion:
    """A version that serves, without state (`submit`, `infer`) or with it (`sequences`). Owned by the event loop."""

    def __init__(
        self,
        name: str,
        version: int,
        config: model_config_pb2.ModelConfig,
        signature: ModelSignature,
        batching: BatchingConfig,
        plan: EnginePlan[OrtEngine] | None,
        steps: StepTimes,
        *,
        digest: str,
        golden_cases: int,
        directory: Path,
        direct: DirectSession | None = None,
        sequencing: Sequencing | None = None,
        companion: Companion | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.config = config
        self.signature = signature
        self.statistics = VersionStatistics()
        self.engines = plan.all if plan is not None else ()
        self.instances = len(sequencing.engines if sequencing else self.engines)
        self.provider = (sequencing.engines if sequencing else self.engines)[0].provider
        self.steps = steps
        self.digest = digest
        self.golden_cases = golden_cases
        self.directory = directory
        self.direct = direct
        self._output_names = tuple(signature.outputs)
        self.sequencing = sequencing
        self.companion = companion
        self.sequences: SequenceBatcher | None = None
        """Where the sequences of a stateful version live."""
        self.inline_rows = 0
        self._batcher: DynamicBatcher | SequenceBatcher
        if sequencing is not None:
            self._batcher = self.sequences = SequenceBatcher(
                name, signature, sequencing.spec, sequencing.engines, self.statistics, batching.max_queue_size, self
            )
            return
        assert plan is not None, "a version without state has engines"
        self.inline_rows = inline_rows_of(signature, batching, self.engines, steps)
        self._batcher = DynamicBatcher(name, signature, batching, plan, self.statistics)

    @property
    def queue_depth(self) -> int:
        """How many requests wait for an engine."""
        return self._batcher.depth

    @property
    def running(self) -> int:
        """How many batches run now."""
        return self._batcher.running

    def run_inline(self, inputs: Arrays, rows: int) -> Arrays:
        """Run a request of at most `inline_rows` rows here and now.

        The outputs may be views that the next call overwrites: use them before anything else runs.

        Raises: InferenceFailed when the model fails on it.
        """
        started_ns = time.perf_counter_ns()
        try:
            if self.direct is not None:
                outputs = self.direct.run(inputs, rows)
            else:
                outputs = dict(zip(self._output_names, self.engines[0].run(inputs), strict=True))
        except Exception as error:
            # The batch boundary of a batch of one: see DynamicBatcher.
            raise self.failure(error) from error
        self.statistics.record_inline(rows, started_ns)
        return outputs

    def failure(self, error: Exception) -> InferenceFailed:
        """Count and log a request that the model failed on, and return what its caller is told."""
        self.statistics.fail_count += 1
        _log.warning("model %s failed on a request", self.name, exc_info=error)
        return InferenceFailed(f'model "{self.name}" failed to run this request')

    def submit(
        self, inputs: Arrays, rows: int, *, deadline_s: float | None, timeout_s: float = 0.0, priority: int = 0
    ) -> Any:
        """Queue a request and return the future of its outputs; see `DynamicBatcher.submit`."""
        assert isinstance(self._batcher, DynamicBatcher), "a stateful version is stepped through `sequences`"
        return self._batcher.submit(inputs, rows, deadline_s=deadline_s, timeout_s=timeout_s, priority=priority)

    async def infer(
        self, inputs: Arrays, *, deadline_s: float | None = None, timeout_s: float = 0.0, priority: int = 0
    ) -> Arrays:
        """Run one request, inline or through the queue, and return its outputs.

        Raises: Overloaded, DeadlineExceeded, ShuttingDown, InferenceFailed.
        """
        rows = next(iter(inputs.values())).shape[0] if inputs and self.signature.batches else 1
        if rows <= self.inline_rows:
            return {name: array.copy() for name, array in self.run_inline(inputs, rows).items()}
        outputs: Arrays = await self.submit(inputs, rows, deadline_s=deadline_s, timeout_s=timeout_s, priority=priority)
        return outputs

    async def retire(self) -> None:
        """As `stop`, but let live sequences and voices go on until they end, or until `abandon`."""
        if self.sequences is not None:
            await self.sequences.outlive()
        if self.companion is not None:
            await self.companion.outlive()
        await self.stop()

    def abandon(self) -> None:
        """End live sequences and voices."""
        if self.sequences is not None:
            self.sequences.abandon()
        if self.companion is not None:
            self.companion.close()

    async def stop(self) -> None:
        """Answer everything that was accepted, then free the engines; whoever still holds the version is refused.

        Live sequences end.
        """
        self.inline_rows = 0
        await self._batcher.stop()
        for engine in (*self.engines, *(self.sequencing.engines if self.sequencing else ())):
            engine.close()
        if self.direct is not None:
            self.direct.close()
            self.direct = None
        if self.companion is not None:
            self.companion.close()


def inline_rows_of(
    signature: ModelSignature, batching: BatchingConfig, engines: Sequence[OrtEngine], steps: StepTimes
) -> int:
    """Return how many rows may run on the event loop; 0 where shapes vary, a delay is asked for or a GPU waits."""
    if not signature.fixed or signature.padding or batching.max_queue_delay_s or len(engines) > 1:
        return 0
    if engines[0].config.device != "cpu":
        return 0
    return steps.inline_rows
