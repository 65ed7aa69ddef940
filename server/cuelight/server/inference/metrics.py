"""Prometheus metrics of models, read from each version's statistics when they are scraped."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from cuelight.server.inference.statistics import STEP_BOUNDS_S, Duration, VersionStatistics

__all__ = ["ModelMetrics"]

_LABELS = ["model", "version"]
_NS_PER_S = 1e9

_DURATIONS: tuple[tuple[str, str, Callable[[VersionStatistics], Duration]], ...] = (
    ("queue", "From a request's arrival to the start of its batch.", lambda statistics: statistics.queue),
    ("compute_input", "Gathering the batch a request is in.", lambda statistics: statistics.compute_input),
    ("compute_infer", "Running the batch a request is in.", lambda statistics: statistics.compute_infer),
    ("compute_output", "Handing out the batch a request is in.", lambda statistics: statistics.compute_output),
)


class ModelMetrics:
    """A Prometheus collector over the loaded versions; collected on the event loop, which owns them.

    A version's figures begin anew when it is loaded again, as Prometheus expects of a counter that was reset.
    """

    def __init__(self, versions: Callable[[], Iterable[ModelVersion]]) -> None:
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of every loaded version."""
        versions = list(self._versions())
        yield _info(versions)
        yield from _gauges(versions)
        yield from _counters(versions)
        yield from _durations(versions)
        yield _batch_sizes(versions)
        stateful = [(version, version.sequences) for version in versions if version.sequences is not None]
        yield from _sequences(stateful)
        yield _step_times(stateful)


def _labels(version: ModelVersion) -> list[str]:
    return [version.name, str(version.version)]


def _info(versions: list[ModelVersion]) -> Metric:
    family = GaugeMetricFamily(
        "cuelight_model_loaded", "1 for every version that serves.", labels=[*_LABELS, "provider", "digest"]
    )
    for version in versions:
        family.add_metric([*_labels(version), version.provider, version.digest], 1)
    return family


def _gauges(versions: list[ModelVersion]) -> Iterator[Metric]:
    depth = GaugeMetricFamily("cuelight_model_queue_depth", "Requests that wait for an engine.", labels=_LABELS)
    running = GaugeMetricFamily("cuelight_model_engines_running", "Batches that run now.", labels=_LABELS)
    for version in versions:
        depth.add_metric(_labels(version), version.queue_depth)
        running.add_metric(_labels(version), version.running)
    yield depth
    yield running


def _counters(versions: list[ModelVersion]) -> Iterator[Metric]:
    inferences = CounterMetricFamily("cuelight_model_inferences", "Rows computed.", labels=_LABELS)
    executions = CounterMetricFamily("cuelight_model_executions", "Runs of the model.", labels=_LABELS)
    requests = CounterMetricFamily(
        "cuelight_model_requests",
        "Requests a model took, by outcome: success, fail, cancel (the caller left before it ran).",
        labels=[*_LABELS, "outcome"],
    )
    for version in versions:
        statistics = version.statistics
        inferences.add_metric(_labels(version), statistics.inference_count)
        executions.add_metric(_labels(version), statistics.execution_count)
        requests.add_metric([*_labels(version), "success"], statistics.success.count)
        requests.add_metric([*_labels(version), "fail"], statistics.fail.count)
        requests.add_metric([*_labels(version), "cancel"], statistics.cancel.count)
    yield requests
    yield inferences
    yield executions


def _durations(versions: list[ModelVersion]) -> Iterator[Metric]:
    for name, text, duration_of in _DURATIONS:
        family = SummaryMetricFamily(f"cuelight_model_{name}_seconds", text, labels=_LABELS)
        for version in versions:
            duration = duration_of(version.statistics)
            family.add_metric(_labels(version), duration.count, duration.ns / _NS_PER_S)
        yield family


def _batch_sizes(versions: list[ModelVersion]) -> Metric:
    family = HistogramMetricFamily("cuelight_model_batch_rows", "Rows in the batches that were run.", labels=_LABELS)
    for version in versions:
        batches = version.statistics.batches
        counts = {rows: batch.executions for rows, batch in batches.items()}
        bounds = _bounds(version.signature.max_batch_size)
        within = [sum(count for rows, count in counts.items() if low < rows <= high) for low, high in _spans(bounds)]
        beyond = sum(counts.values()) - sum(within)
        buckets = list(zip((*map(str, bounds), "+Inf"), accumulate((*within, beyond)), strict=True))
        family.add_metric(_labels(version), buckets, sum(rows * count for rows, count in counts.items()))
    return family


_Stateful = list[tuple[ModelVersion, SequenceBatcher]]


def _sequences(stateful: _Stateful) -> Iterator[Metric]:
    live = GaugeMetricFamily("cuelight_sequences_live", "Sequences that can be stepped.", labels=_LABELS)
    capacity = GaugeMetricFamily("cuelight_sequences_capacity", "Sequences that may live at once.", labels=_LABELS)
    slots = GaugeMetricFamily("cuelight_sequence_slots_used", "Rows of the state slabs in use.", labels=_LABELS)
    events = CounterMetricFamily(
        "cuelight_sequences",
        "What became of sequences: started, resumed (from a token), exported (as a token), ended (for any reason), "
        "expired (ended because idle too long).",
        labels=[*_LABELS, "event"],
    )
    for version, sequences in stateful:
        live.add_metric(_labels(version), sequences.live)
        capacity.add_metric(_labels(version), sequences.capacity)
        slots.add_metric(_labels(version), sequences.slots_used)
        for event in ("started", "resumed", "exported", "ended", "expired"):
            events.add_metric([*_labels(version), event], getattr(sequences.counts, event))
    yield from (live, capacity, slots, events)


def _step_times(stateful: _Stateful) -> Metric:
    family = HistogramMetricFamily(
        "cuelight_sequence_step_seconds", "A step of a sequence, from its arrival to its answer.", labels=_LABELS
    )
    for version, sequences in stateful:
        counts = sequences.counts
        bounds = (*map(str, STEP_BOUNDS_S), "+Inf")
        buckets = list(zip(bounds, accumulate(counts.step_counts), strict=True))
        family.add_metric(_labels(version), buckets, counts.step_seconds)
    return family


def _bounds(max_batch_size: int) -> list[int]:
    """Return the powers of two up to the first that reaches the largest batch."""
    bounds = [1]
    while bounds[-1] < max_batch_size:
        bounds.append(bounds[-1] * 2)
    return bounds


def _spans(bounds: list[int]) -> Iterator[tuple[int, int]]:
    return zip([0, *bounds], bounds, strict=False)
