"""One measurement of voices that speak in real time, and the search for how many a server can take."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.servers import RunningServer
from benchmarks.voices import Voices, Wire

__all__ = ["HELD_S", "Paced", "Speech", "most_held", "speak"]

HELD_S = 0.5
"""Voices are held in real time while p99 latency, and the longest wait at the end, stay below this."""
RAMP_S = 2.0
WARM_S = 3.0
LEAVE_S = 1.0


@dataclass(frozen=True, slots=True)
class Speech:
    """What every voice says, framed for one system: messages of so many samples."""

    wire: Callable[[], Wire]
    messages: Sequence[bytes]
    message_samples: int


@dataclass(frozen=True, slots=True)
class Paced:
    """What so many voices got and cost. CPU shares are of one core; `late_p99_ms` is how late the sender was itself."""

    voices: int
    held: bool
    cpu_ms_per_s: float
    p50_ms: float
    p99_ms: float
    lag_s: float
    ended: int
    wrong: int
    late_p99_ms: float
    sender_cores: float
    server_cores: float
    other_cores: float


def speak(server: RunningServer, speech: Speech, count: int, seconds: float) -> Paced:
    """Let `count` voices speak for `seconds` after a warm-up, and the server see that they have left."""
    with Voices(server.port, speech.wire, speech.messages, speech.message_samples, count) as voices:
        voices.start(RAMP_S)
        voices.speak(RAMP_S + WARM_S)
        before = _cpu_s(server)
        started_s = time.perf_counter()
        voices.speak(seconds)
        took_s = time.perf_counter() - started_s
        server_s, sender_s, all_s = (after - start for after, start in zip(_cpu_s(server), before, strict=True))
        used_s = (server_s, sender_s, max(0.0, all_s - server_s - sender_s))
        found = _paced(voices, count, server_s, took_s, used_s)
    time.sleep(LEAVE_S)
    return found


def most_held(server: RunningServer, speech: Speech, seconds: float, start: int, found: Callable[[Paced], None]) -> int:
    """Return the largest number of voices held in real time, to within a twentieth; `found` is told every try."""
    low, high, count = 0, 0, start
    while not high or high - low > max(1, low // 20):
        tried = speak(server, speech, count, seconds)
        found(tried)
        low, high = (count, high) if tried.held else (low, count)
        count = (low + high) // 2 if high else low * 3 // 2
    return low


def _paced(voices: Voices, count: int, server_s: float, took_s: float, used_s: tuple[float, float, float]) -> Paced:
    latencies_s = voices.latencies_s()
    p50_ms, p99_ms = _cuts_ms(latencies_s)
    lag_s, ended, heard_s = voices.lag_s(), len(voices.ended()), voices.heard_s()
    return Paced(
        voices=count,
        held=not ended and p99_ms < HELD_S * 1000 and lag_s < HELD_S,
        cpu_ms_per_s=server_s / heard_s * 1000 if heard_s else float("nan"),
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        lag_s=lag_s,
        ended=ended,
        wrong=voices.wrong(),
        late_p99_ms=_cuts_ms(voices.late_s())[1],
        sender_cores=used_s[1] / took_s,
        server_cores=used_s[0] / took_s,
        other_cores=used_s[2] / took_s,
    )


def _cuts_ms(values_s: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    cuts = statistics.quantiles(values_s, n=100) if len(values_s) > 1 else [float("nan")] * 99
    return cuts[49] * 1000, cuts[98] * 1000


def _cpu_s(server: RunningServer) -> tuple[float, float, float]:
    """Return the CPU time used by the server, by this process, and by everybody."""
    times = psutil.cpu_times()
    return server.cpu_s(), time.process_time(), sum(times) - times.idle - times.iowait
