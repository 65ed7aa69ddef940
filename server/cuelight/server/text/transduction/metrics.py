"""Prometheus metrics of what is transduced, read from the engines when they are scraped."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cuelight.server.text.models import VersionSource
from cuelight.server.text.transduction.companion import TransductionCompanion

__all__ = ["TransductionMetrics"]

_LABELS = ("model", "version")


class TransductionMetrics:
    """A Prometheus collector; collected on the event loop, which owns the engines."""

    def __init__(self, versions: VersionSource) -> None:
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of every version that has transduced a text."""
        live = GaugeMetricFamily("cuelight_transductions_live", "Texts that are being transduced.", labels=_LABELS)
        waiting = GaugeMetricFamily("cuelight_transductions_waiting", "Texts that wait for room.", labels=_LABELS)
        steps = CounterMetricFamily("cuelight_transduction_steps", "Steps of the decoder.", labels=_LABELS)
        rows = CounterMetricFamily("cuelight_transduction_rows", "Hypotheses stepped, over all steps.", labels=_LABELS)
        for version in self._versions.serving():
            companion = version.companion
            if isinstance(companion, TransductionCompanion) and (engine := companion.opened) is not None:
                labels = (version.name, str(version.version))
                live.add_metric(labels, engine.load)
                waiting.add_metric(labels, engine.waiting)
                steps.add_metric(labels, engine.steps)
                rows.add_metric(labels, engine.stepped_rows)
        yield from (live, waiting, steps, rows)
