"""How many voices Cuelight recognizes in real time and what each costs, against sherpa-onnx's streaming server.

The same ONNX file, the same machine, one run, the systems in turn: an LSTM CTC of 2 x 512 units in chunks of 160 ms and
voices that speak in real time, in 16 bit samples here and, as it wants them, 32 bit there. sherpa-onnx's server runs
with the cheapest of several batch settings, tried first. For each number of voices: CPU time of the server for a second
of speech, and the time from the last sample that a result needs to the result. Then the most voices held in real time.

`python benchmarks/speech.py [--rounds 3] [--seconds 10] [--out benchmarks/results]` prints a table and writes it as
Markdown and JSON, with a plot. `--soak 200 --minutes 10` lets so many voices speak for so long instead. `--live models
--model moonshine_tiny_en --recordings FILE...` lets real recordings speak to a model of a repository instead.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402 (the path above)
from benchmarks.paced import Paced, Speech, most_held, speak  # noqa: E402
from benchmarks.servers import RunningServer, SherpaSettings, cuelight_server, sherpa_server  # noqa: E402
from benchmarks.sherpa_wire import SherpaWire  # noqa: E402
from benchmarks.speech_live import framed_recordings, live  # noqa: E402
from benchmarks.speech_model import SAMPLE_RATE_HZ, chunk_ms, noise, write_speech_model  # noqa: E402
from benchmarks.speech_report import live_table, plot, plot_live, tables  # noqa: E402
from benchmarks.speech_soak import soak  # noqa: E402
from benchmarks.speech_wire import SpeechWire  # noqa: E402

SYSTEMS = ("sherpa", "grpcio", "envoy")
VOICES = (25, 50, 100, 200, 300, 400)
MESSAGES_MS = (160, 100)
"""The chunk itself at every number of voices, then shorter messages once."""
SHORT_AT = 100
SETTINGS = (
    SherpaSettings(),
    SherpaSettings(max_batch_size=32, num_work_threads=2),
    SherpaSettings(max_batch_size=64, num_work_threads=2, loop_interval_ms=20),
    SherpaSettings(max_batch_size=64, num_work_threads=2, loop_interval_ms=40),
    SherpaSettings(max_batch_size=64, num_work_threads=3, num_io_threads=2, loop_interval_ms=20),
)
SETTINGS_AT = 100
ROWS = (1, 4, 16, 64)


def main() -> int:
    """Measure, print and write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    parser.add_argument("--voices", type=int, nargs="+", default=VOICES)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--no-search", action="store_true", help="do not look for the most voices")
    parser.add_argument("--soak", type=int, metavar="VOICES", help="let so many voices speak instead")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak")
    parser.add_argument("--front", choices=SYSTEMS[1:], default="envoy", help="of the soak")
    parser.add_argument("--live", type=Path, metavar="REPOSITORY", help="real recordings instead")
    parser.add_argument("--model", default="moonshine_tiny_en", help="of --live")
    parser.add_argument("--recordings", type=Path, nargs="+", default=[], help="of --live")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.live:
        recorded(options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write_speech_model(Path(folder))
        if options.soak:
            with cuelight_server(Path(folder), options.front) as server:
                soak(server, speech(options.front, MESSAGES_MS[0]), options.soak, options.minutes, options.out)
            return 0
        result = run(Path(folder), options)
    text = tables(result)
    print(text)
    (options.out / "speech.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "speech.md").write_text(text + "\n")
    plot(result, options.out / "speech.png")
    return 0


def recorded(options: argparse.Namespace) -> None:
    """Measure real recordings for each number of voices; print and write the figures."""
    messages = framed_recordings(options.recordings)
    with cuelight_server(options.live, options.front) as server:
        found = [asdict(live(server, options.model, messages, count, options.seconds)) for count in options.voices]
    print(live_table(found))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = [file.name for file in options.recordings]
    result = {"machine": machine(cores), "model": options.model, "front": options.front, "recordings": names}
    name = f"speech_{options.model}"
    (options.out / f"{name}.json").write_text(json.dumps(result | {"live": found}, indent=1) + "\n")
    plot_live(found, f"{options.model}, {len(names)} recordings one after the other", options.out / f"{name}.png")


def run(repository: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure of the run."""
    version = write_speech_model(repository)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model_ms = {rows: chunk_ms(version / "model.onnx", rows) / 0.16 for rows in ROWS}
    tried, settings = best_settings(version, options.seconds) if "sherpa" in options.systems else ([], None)
    with ExitStack() as stack:
        servers = started(stack, repository, version, options.systems, settings)
        idle_mib = {name: server.memory_mib() for name, server in servers.items()}
        paced = in_turn(servers, options.voices, options.rounds, options.seconds)
        searched = {} if options.no_search else {name: search(servers[name], name, options.seconds) for name in servers}
        return {
            "machine": machine(cores),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "model_ms_per_s": model_ms,
            "sherpa_settings": settings and asdict(settings),
            "sherpa_tried": tried,
            "paced": paced,
            "search": searched,
            "memory_idle_mib": idle_mib,
            "memory_after_mib": {name: server.memory_mib() for name, server in servers.items()},
        }


def started(
    stack: ExitStack, repository: Path, version: Path, systems: Sequence[str], settings: SherpaSettings | None
) -> dict[str, RunningServer]:
    """Start every server; they idle while another one is measured."""
    return {
        name: stack.enter_context(
            sherpa_server(version, settings or SETTINGS[0]) if name == "sherpa" else cuelight_server(repository, name)
        )
        for name in systems
    }


def speech(system: str, message_ms: int) -> Speech:
    """Return what voices say to a system."""
    samples = message_ms * SAMPLE_RATE_HZ // 1000
    wire = SherpaWire if system == "sherpa" else SpeechWire
    return Speech(wire, [wire.framed(one) for one in noise(samples)], samples)


def best_settings(version: Path, seconds: float) -> tuple[list[dict[str, Any]], SherpaSettings]:
    """Return what each setting of sherpa-onnx's server costs, and the cheapest that holds real time."""
    tried: list[tuple[SherpaSettings, Paced]] = []
    for settings in tqdm(SETTINGS, unit="setting"):
        with sherpa_server(version, settings) as server:
            tried.append((settings, speak(server, speech("sherpa", MESSAGES_MS[0]), SETTINGS_AT, seconds)))
    held = [(settings, found) for settings, found in tried if found.held] or tried
    best = min(held, key=lambda pair: pair[1].cpu_ms_per_s)[0]
    return [{**asdict(settings), **asdict(found)} for settings, found in tried], best


def in_turn(
    servers: dict[str, RunningServer], counts: Sequence[int], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Return the medians over the rounds for each number of voices, then for shorter messages."""
    workloads = [*((count, MESSAGES_MS[0]) for count in counts), (SHORT_AT, MESSAGES_MS[1])]
    samples: dict[tuple[int, int, str], list[Paced]] = {}
    for count, message_ms in tqdm([workload for _ in range(rounds) for workload in workloads], unit="size"):
        for name, server in servers.items():
            found = speak(server, speech(name, message_ms), count, seconds)
            samples.setdefault((count, message_ms, name), []).append(found)
    return [
        {
            "voices": count,
            "message_ms": message_ms,
            "systems": {name: middle(samples[count, message_ms, name]) for name in servers},
        }
        for count, message_ms in workloads
    ]


def search(server: RunningServer, name: str, seconds: float) -> dict[str, Any]:
    """Return the most voices that a system holds in real time, and every try."""
    tries: list[Paced] = []
    most = most_held(server, speech(name, MESSAGES_MS[0]), seconds, SETTINGS_AT, tries.append)
    return {"most": most, "tries": [asdict(one) for one in tries]}


def middle(found: Sequence[Paced]) -> dict[str, float]:
    """Return the median of each figure over the rounds; held only if it was in most of them."""
    return {one.name: statistics.median(float(getattr(paced, one.name)) for paced in found) for one in fields(Paced)}


if __name__ == "__main__":
    sys.exit(main())
