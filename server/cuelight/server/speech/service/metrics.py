"""Prometheus metrics of live voices, read from the admission when they are scraped."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cuelight.server.speech.service.admission import Admission

__all__ = ["SpeechMetrics"]


class SpeechMetrics:
    """A Prometheus collector; collected on the event loop, which owns the admission."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of live voices."""
        admission = self._admission
        yield _gauge("voices_live", "Voices that speak now.", admission.live)
        yield _counter("voices_refused", "Voices that could not have been served in real time.", admission.refused)
        yield _counter("voice_audio_seconds", "Seconds of live audio recognized.", admission.audio_s_total)
        yield _gauge(
            "voice_wait_share",
            "How long voices wait for the server, as a share of their audio's own time; from 1 on they fall behind.",
            admission.wait_share,
        )
        if admission.measured is not None:
            cost = GaugeMetricFamily(
                "cuelight_voice_cost", "CPU seconds a second of one voice, as measured.", labels=["of"]
            )
            cost.add_metric(["process"], admission.measured.process)
            cost.add_metric(["loop"], admission.measured.loop)
            yield cost


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(f"cuelight_{name}", text)
    family.add_metric([], value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    family = CounterMetricFamily(f"cuelight_{name}", text)
    family.add_metric([], value)
    return family
