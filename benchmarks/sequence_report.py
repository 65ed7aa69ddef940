"""The figures of a run over sequences as tables and as a plot."""

from pathlib import Path
from typing import Any

from benchmarks.lstm import BATCHED, SINGLE
from benchmarks.report import machine_line

__all__ = ["plot", "tables"]

_FRONTS = ("grpcio", "envoy")


def tables(result: dict[str, Any]) -> str:
    """Return the run as Markdown: steps by number of live sequences, the bare model, then what idle ones cost."""
    lines = [
        machine_line(result),
        "",
        "| live sequences | steps under way of each | echo/s | grpcio, steps/s | envoy, steps/s "
        "| grpcio / echo | envoy / echo | grpcio, batching off | envoy, batching off "
        "| batching gains (grpcio, envoy) | p50 ms (echo, grpcio, envoy) | p99 ms (echo, grpcio, envoy) |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|---|",
        *(_row(entry) for entry in result["streams"]),
        "",
        "| rows in a batch | the bare model on one core, steps/s |",
        "|--:|--:|",
        *(f"| {rows} | {rate:,.0f} |" for rows, rate in result["in_process"].items()),
        "",
        "| 4,096 idle sequences | grpcio | envoy |",
        "|---|--:|--:|",
        *(_idle_row(result, title, key, form) for title, key, form in _IDLE_ROWS),
    ]
    return "\n".join(lines)


_IDLE_ROWS = (
    ("memory of each beside its state, bytes", "bytes_each", ",.0f"),
    ("another one's step, p50 ms, without them", "p50_ms_alone", ".2f"),
    ("another one's step, p50 ms, among them", "p50_ms_among_idle", ".2f"),
    ("a token, bytes", "token_bytes", ",.0f"),
    ("a call that does nothing, ms", "ready_call_ms", ".2f"),
    ("a step by call, ms", "step_call_ms", ".2f"),
    ("export by call, ms", "export_call_ms", ".2f"),
    ("import by call, ms", "import_call_ms", ".2f"),
)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw steps a second over the number of live sequences."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    entries = [entry for entry in result["streams"] if entry["under_way"] == 1]
    counts = [entry["streams"] for entry in entries]
    figure, panel = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    for name, label, style in (
        (f"echo {BATCHED}", "bare grpcio echo", "k--"),
        (f"envoy {BATCHED}", "envoy", "C0-"),
        (f"grpcio {BATCHED}", "grpcio", "C1-"),
        (f"envoy {SINGLE}", "envoy, batching off", "C0:"),
        (f"grpcio {SINGLE}", "grpcio, batching off", "C1:"),
    ):
        panel.plot(counts, [entry["systems"][name]["per_s"] for entry in entries], style, marker="o", label=label)
    panel.set(
        xscale="log", xlabel="live sequences", ylabel="steps a second", title="LSTM of 256 units, one stream each"
    )
    panel.set_xticks(counts, [f"{count:,}" for count in counts])
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.3)
    panel.legend()
    figure.savefig(path, dpi=120)


def _row(entry: dict[str, Any]) -> str:
    systems = entry["systems"]
    echo = systems[f"echo {BATCHED}"]
    batched = [systems[f"{front} {BATCHED}"] for front in _FRONTS]
    single = [systems[f"{front} {SINGLE}"] for front in _FRONTS]
    rates = " | ".join(f"{one['per_s']:,.0f}" for one in (echo, *batched))
    ratios = " | ".join(f"**{one['per_s'] / echo['per_s']:.2f}**" for one in batched)
    alone = " | ".join(f"{one['per_s']:,.0f}" for one in single)
    gains = ", ".join(f"{a['per_s'] / b['per_s']:.1f}" for a, b in zip(batched, single, strict=True))
    latencies = " | ".join(", ".join(f"{one[key]:.2f}" for one in (echo, *batched)) for key in ("p50_ms", "p99_ms"))
    return f"| {entry['streams']:,} | {entry['under_way']} | {rates} | {ratios} | {alone} | {gains} | {latencies} |"


def _idle_row(result: dict[str, Any], title: str, key: str, form: str) -> str:
    values = " | ".join(format(result["idle"][front][key], form) for front in _FRONTS)
    return f"| {title} | {values} |"
