"""Prometheus metrics of calls, read from the ledger when they are scraped: a call itself pays nothing for them."""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from cuelight.server.rpc.ledger import LATENCY_BOUNDS_S, CallLedger, MethodLedger
from cuelight.server.rpc.status import StatusCode

__all__ = ["CallMetrics"]

_MESSAGE_FIGURES: tuple[tuple[str, str, Callable[[MethodLedger], int]], ...] = (
    ("received_messages", "Messages that came.", lambda entry: entry.received_messages),
    ("received_bytes", "Bytes of the messages that came, without framing.", lambda entry: entry.received_bytes),
    ("sent_messages", "Messages that were sent.", lambda entry: entry.sent_messages),
    ("sent_bytes", "Bytes of the messages that were sent, without framing.", lambda entry: entry.sent_bytes),
)


class CallMetrics:
    """A Prometheus collector over the ledger; collected on the event loop, which owns the ledger."""

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of every method that was ever called or is mounted."""
        methods = {entry.path.removeprefix("/"): entry for entry in self._ledger.methods.values()}
        yield _requests(methods)
        yield _in_flight(methods)
        yield _latency(methods)
        for name, text, figure_of in _MESSAGE_FIGURES:
            family = CounterMetricFamily(f"cuelight_{name}", text, labels=["method"])
            for method, entry in methods.items():
                family.add_metric([method], figure_of(entry))
            yield family
        draining = GaugeMetricFamily(
            "cuelight_draining", "1 while the server finishes its calls and takes no new ones."
        )
        draining.add_metric([], float(self._ledger.draining))
        yield draining


def _requests(methods: dict[str, MethodLedger]) -> Metric:
    family = CounterMetricFamily(
        "cuelight_requests", "Calls that ended, by method and gRPC status.", labels=["method", "code"]
    )
    for method, entry in methods.items():
        for code in StatusCode:
            if entry.ended[code] or code is StatusCode.OK:
                family.add_metric([method, code.name], entry.ended[code])
    return family


def _in_flight(methods: dict[str, MethodLedger]) -> Metric:
    family = GaugeMetricFamily("cuelight_requests_in_flight", "Calls and open streams inside.", labels=["method"])
    for method, entry in methods.items():
        family.add_metric([method], entry.in_flight)
    return family


def _latency(methods: dict[str, MethodLedger]) -> Metric:
    family = HistogramMetricFamily(
        "cuelight_request_seconds", "From the arrival of a call to its status; a stream is one call.", labels=["method"]
    )
    for method, entry in methods.items():
        if not any(entry.latency_counts):
            continue  # 17 lines for each of 30 methods that nobody calls would make up most of a scrape
        bounds = (*(str(bound) for bound in LATENCY_BOUNDS_S), "+Inf")
        buckets = list(zip(bounds, accumulate(entry.latency_counts), strict=True))
        family.add_metric([method], buckets, entry.seconds_sum)
    return family
