"""Many voices for many minutes: whether memory stays level and nobody falls behind."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.paced import RAMP_S, Speech
from benchmarks.servers import RunningServer
from benchmarks.voices import Voices

__all__ = ["soak"]

_STEP_S = 5.0


@dataclass(frozen=True, slots=True)
class _Moment:
    """What was so at one time; latency and CPU of the seconds before."""

    at_s: float
    memory_mib: float
    lag_s: float
    p99_ms: float
    cpu_ms_per_s: float
    ended: int
    wrong: int


def soak(server: RunningServer, speech: Speech, count: int, minutes: float, out: Path) -> None:
    """Let `count` voices speak for so long; print the outcome and write it, with a plot."""
    moments: list[_Moment] = []
    with Voices(server.port, speech.wire, speech.messages, speech.message_samples, count) as voices:
        voices.start(RAMP_S)
        for step in tqdm(range(int(minutes * 60 / _STEP_S)), unit="step"):
            before_s = server.cpu_s()
            voices.speak(_STEP_S)
            moments.append(_moment(server, voices, (step + 1) * _STEP_S, server.cpu_s() - before_s))
        reasons = sorted(set(voices.ended()))
    print(_outcome(count, moments))
    result: dict[str, Any] = {"voices": count, "moments": [asdict(one) for one in moments], "ended": reasons}
    (out / "speech_soak.json").write_text(json.dumps(result, indent=1) + "\n")
    _plot(count, moments, out / "speech_soak.png")


def _moment(server: RunningServer, voices: Voices, at_s: float, cpu_s: float) -> _Moment:
    latencies_s = voices.latencies_s()
    return _Moment(
        at_s=at_s,
        memory_mib=server.memory_mib(),
        lag_s=voices.lag_s(),
        p99_ms=statistics.quantiles(latencies_s, n=100)[98] * 1000 if len(latencies_s) > 1 else float("nan"),
        cpu_ms_per_s=cpu_s / voices.heard_s() * 1000 if voices.heard_s() else float("nan"),
        ended=len(voices.ended()),
        wrong=voices.wrong(),
    )


def _outcome(count: int, moments: list[_Moment]) -> str:
    """Return the outcome in a line; memory is compared from the second minute on, when all that grows has grown."""
    settled = [one for one in moments if one.at_s > 60] or moments
    return (
        f"{count} voices for {moments[-1].at_s / 60:.1f} minutes: memory {settled[0].memory_mib:.0f} MiB after one, "
        f"{settled[-1].memory_mib:.0f} MiB at the end; longest wait {max(one.lag_s for one in moments):.2f} s; "
        f"{moments[-1].ended} ended by the server; {moments[-1].wrong} answers with wrong words"
    )


def _plot(count: int, moments: list[_Moment], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    at_min = [one.at_s / 60 for one in moments]
    figure, (memory, latency, ended) = pyplot.subplots(3, 1, figsize=(8, 7), sharex=True, layout="constrained")
    memory.plot(at_min, [one.memory_mib for one in moments], "C0-")
    memory.set(ylabel="MiB", title=f"{count} voices: memory of the server")
    latency.plot(at_min, [one.p99_ms for one in moments], "C0-", label="result latency, p99 of 5 s")
    latency.plot(at_min, [one.lag_s * 1000 for one in moments], "C1-", label="longest wait")
    latency.set(ylabel="ms", title="how far behind")
    latency.legend()
    ended.plot(at_min, [one.ended for one in moments], "C3-")
    ended.set(xlabel="minutes", ylabel="voices", title="refused or ended by the server")
    for panel in (memory, latency, ended):
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
