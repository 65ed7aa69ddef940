"""Model metrics: what the statistics say, in the words of Prometheus, read back by its own parser."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cuelight.server.inference.metrics import ModelMetrics
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.statistics import VersionStatistics

LABELS = {"model": "photo", "version": "3"}


@dataclass
class Version:
    """The part of a model version that metrics read."""

    name: str = "photo"
    version: int = 3
    provider: str = "CPUExecutionProvider"
    digest: str = "4f2a"
    queue_depth: int = 5
    running: int = 2
    signature: ModelSignature = field(default_factory=lambda: ModelSignature({}, {}, max_batch_size=6))
    statistics: VersionStatistics = field(default_factory=VersionStatistics)
    sequences: Any = None


def scrape(*versions: Any) -> dict[str, Metric]:
    registry = CollectorRegistry()
    registry.register(ModelMetrics(lambda: versions))
    return {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}


def value(family: Metric, suffix: str = "", **labels: str) -> float:
    (found,) = (
        sample.value
        for sample in family.samples
        if sample.name == family.name + suffix and sample.labels == {**LABELS, **labels}
    )
    return float(found)


def test_a_version_is_told_with_provider_and_digest() -> None:
    families = scrape(Version())

    assert value(families["cuelight_model_loaded"], provider="CPUExecutionProvider", digest="4f2a") == 1
    assert value(families["cuelight_model_queue_depth"]) == 5
    assert value(families["cuelight_model_engines_running"]) == 2


def test_counts_and_seconds_are_those_of_the_statistics() -> None:
    version = Version()
    # One batch of 4 rows: requests of 3 rows and 1 row that waited 1 s and 2 s.
    spans = {"input_ns": 250_000_000, "infer_ns": 500_000_000, "output_ns": 125_000_000}
    version.statistics.record_request(3, queue_ns=1_000_000_000, **spans)
    version.statistics.record_request(1, queue_ns=2_000_000_000, **spans)
    version.statistics.record_execution(4, **spans)
    version.statistics.fail_count = 7
    version.statistics.cancel_count = 8

    families = scrape(version)

    assert value(families["cuelight_model_inferences"], "_total") == 4
    assert value(families["cuelight_model_executions"], "_total") == 1
    outcomes = {
        o: value(families["cuelight_model_requests"], "_total", outcome=o) for o in ("success", "fail", "cancel")
    }
    assert outcomes == {"success": 2, "fail": 7, "cancel": 8}
    for name, seconds in (("queue", 3.0), ("compute_input", 0.5), ("compute_infer", 1.0), ("compute_output", 0.25)):
        family = families[f"cuelight_model_{name}_seconds"]
        assert (value(family, "_count"), value(family, "_sum")) == (2, seconds)


@pytest.mark.parametrize(
    ("max_batch_size", "batches", "buckets", "rows"),
    [
        (6, {}, {"1": 0, "2": 0, "4": 0, "8": 0, "+Inf": 0}, 0),
        (6, {1: 5, 3: 2, 4: 1, 6: 1}, {"1": 5, "2": 5, "4": 8, "8": 9, "+Inf": 9}, 21),
        (0, {1: 3, 9: 1}, {"1": 3, "+Inf": 4}, 12),
    ],
)
def test_batches_are_counted_by_their_rows(
    max_batch_size: int, batches: dict[int, int], buckets: dict[str, float], rows: float
) -> None:
    version = Version(signature=ModelSignature({}, {}, max_batch_size=max_batch_size))
    for size, count in batches.items():
        for _ in range(count):
            version.statistics.record_execution(size, input_ns=0, infer_ns=0, output_ns=0)

    family = scrape(version)["cuelight_model_batch_rows"]

    assert {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")} == buckets
    assert value(family, "_sum") == rows


def test_a_server_without_models_has_the_families_and_no_samples() -> None:
    families = scrape()

    assert "cuelight_model_loaded" in families
    assert all(not family.samples for family in families.values())
