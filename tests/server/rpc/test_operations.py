"""The operations port over a real socket, and call metrics read back by Prometheus's own parser."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.ledger import LATENCY_BOUNDS_S, CallLedger
from cuelight.server.rpc.metrics import CallMetrics
from cuelight.server.rpc.operations import OperationsPort
from cuelight.server.rpc.status import StatusCode

T = TypeVar("T")

PATH = "/inference.GRPCInferenceService/ModelInfer"
METHOD = PATH.removeprefix("/")


def with_port(
    ask: Callable[[OperationsPort], Awaitable[T]], *, ledger: CallLedger | None = None, ready: bool = True
) -> T:
    async def scenario() -> T:
        port = OperationsPort("127.0.0.1", 0, (CallMetrics(ledger or CallLedger(1)),), lambda: ready)
        await port.start()
        try:
            return await ask(port)
        finally:
            await port.stop()

    return asyncio.run(scenario())


async def exchange(port: OperationsPort, request: bytes) -> tuple[int, dict[str, str], str]:
    """Send the request and return status, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    writer.write(request)
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    status, *headers = head.split("\r\n")
    return int(status.split()[1]), dict(header.split(": ", 1) for header in headers), body


def get(path: str) -> Callable[[OperationsPort], Awaitable[tuple[int, dict[str, str], str]]]:
    return lambda port: exchange(port, f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())


def scrape(ledger: CallLedger) -> dict[str, Metric]:
    status, headers, body = with_port(get("/metrics"), ledger=ledger)
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert int(headers["Content-Length"]) == len(body.encode())
    return {family.name: family for family in text_string_to_metric_families(body)}


def samples(family: Metric, suffix: str = "") -> dict[str, float]:
    """Return the family's samples of one suffix by their last label's value."""
    return {
        sample.labels.get("code") or sample.labels.get("le") or "": sample.value
        for sample in family.samples
        if sample.name == family.name + suffix
    }


def test_calls_are_counted_by_method_and_code() -> None:
    ledger = CallLedger(10)
    entry = ledger.register(PATH, while_draining=False)
    for code in (StatusCode.OK, StatusCode.OK, StatusCode.NOT_FOUND):
        ledger.close(entry, ledger.open(entry), code)
    ledger.refuse(entry, StatusCode.UNAVAILABLE)
    ledger.open(entry)

    families = scrape(ledger)

    assert samples(families["cuelight_requests"], "_total") == {"OK": 2, "NOT_FOUND": 1, "UNAVAILABLE": 1}
    assert families["cuelight_requests"].samples[0].labels["method"] == METHOD
    assert samples(families["cuelight_requests_in_flight"]) == {"": 1}
    assert samples(families["cuelight_draining"]) == {"": 0}


def test_the_latency_histogram_is_cumulative_and_complete() -> None:
    ledger = CallLedger(10)
    entry = ledger.register(PATH, while_draining=False)
    entry.latency_counts = list(range(len(LATENCY_BOUNDS_S) + 1))
    entry.seconds_sum = 12.5

    latency = scrape(ledger)["cuelight_request_seconds"]

    buckets = samples(latency, "_bucket")
    assert list(buckets) == [*(str(bound) for bound in LATENCY_BOUNDS_S), "+Inf"]
    assert list(buckets.values()) == [n * (n + 1) / 2 for n in range(len(LATENCY_BOUNDS_S) + 1)]
    assert samples(latency, "_count") == {"": buckets["+Inf"]}
    assert samples(latency, "_sum") == {"": 12.5}


def test_a_method_that_nobody_called_has_counters_and_no_histogram() -> None:
    ledger = CallLedger(10)
    ledger.register(PATH, while_draining=False)

    families = scrape(ledger)

    assert samples(families["cuelight_requests"], "_total") == {"OK": 0}
    assert not families["cuelight_request_seconds"].samples


@pytest.mark.parametrize(
    ("path", "ready", "status"),
    [
        ("/health/live", False, 200),
        ("/health/ready", True, 200),
        ("/health/ready", False, 503),
        ("/health/ready?verbose", True, 200),
        ("/", True, 404),
    ],
)
def test_health_pages(path: str, ready: bool, status: int) -> None:
    assert with_port(get(path), ready=ready)[0] == status


def test_head_sends_no_body() -> None:
    status, headers, body = with_port(lambda port: exchange(port, b"HEAD /health/live HTTP/1.1\r\n\r\n"))

    assert (status, headers["Content-Length"], body) == (200, "5", "")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"POST /metrics HTTP/1.1\r\n\r\n", 405), (b"\r\n\r\n", 405), (b"\xff\xfe\r\n\r\n", 405), (b"GET\r\n\r\n", 405)],
)
def test_what_is_not_a_get_is_refused(request_bytes: bytes, status: int) -> None:
    assert with_port(lambda port: exchange(port, request_bytes))[0] == status


def test_a_request_without_end_is_dropped_and_the_port_lives() -> None:
    async def scenario(port: OperationsPort) -> tuple[bytes, int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"GET /" + b"x" * 100_000)
        dropped = b""
        with suppress(ConnectionResetError):
            dropped = await reader.read()
        writer.close()
        return dropped, (await get("/health/live")(port))[0]

    assert with_port(scenario) == (b"", 200)


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    async def scenario(port: OperationsPort) -> None:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port.port} for metrics"):
            await OperationsPort("127.0.0.1", port.port, (), lambda: True).start()

    with_port(scenario)
