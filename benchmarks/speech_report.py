"""The figures of a run over voices as tables and as a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import machine_line

__all__ = ["live_table", "plot", "plot_live", "tables"]

_NAMES = {"sherpa": "sherpa-onnx", "grpcio": "Cuelight, grpcio", "envoy": "Cuelight, envoy"}
_STYLES = {"sherpa": "k--", "grpcio": "C1-", "envoy": "C0-"}
_SETTING_KEYS = ("max_batch_size", "num_work_threads", "num_io_threads", "loop_interval_ms")


def tables(result: dict[str, Any]) -> str:
    """Return the run as Markdown: what voices cost, the most voices, the bare model, sherpa-onnx's settings, memory."""
    systems = list(result["memory_idle_mib"])
    named = ", ".join(_NAMES[name] for name in systems)
    lines = [
        machine_line(result),
        "",
        "| voices | message, ms | system | CPU ms a second of speech | of sherpa-onnx | p50 ms | p99 ms | in time "
        "| longest wait at the end, s | server, cores | load generator, cores | others, cores |",
        "|--:|--:|---|--:|--:|--:|--:|---|--:|--:|--:|--:|",
        *(_row(entry, name) for entry in result["paced"] for name in systems),
        "",
        *(_search_lines(result["search"]) if result["search"] else ()),
        "| rows in a batch | the bare model, CPU ms a second of speech |",
        "|--:|--:|",
        *(f"| {rows} | {cost:.2f} |" for rows, cost in result["model_ms_per_s"].items()),
        "",
        *(_setting_lines(result) if result["sherpa_tried"] else ()),
        f"| memory, MiB | {' | '.join(_NAMES[name] for name in systems)} |",
        f"|---|{'--:|' * len(systems)}",
        _memory_row(result, "idle", "memory_idle_mib", systems),
        _memory_row(result, "after the run", "memory_after_mib", systems),
    ]
    wrong = sum(entry["systems"][name]["wrong"] for entry in result["paced"] for name in systems)
    return "\n".join([*lines, "", f"Answers with other words than were due ({named}): {wrong:.0f}."])


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw CPU time for a second of speech, and p99 latency, over the number of voices."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    message_ms = result["paced"][0]["message_ms"]
    entries = [entry for entry in result["paced"] if entry["message_ms"] == message_ms]
    counts = [entry["voices"] for entry in entries]
    figure, (cost, latency) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name in result["memory_idle_mib"]:
        found = [entry["systems"][name] for entry in entries]
        cost.plot(counts, [one["cpu_ms_per_s"] for one in found], _STYLES[name], marker="o", label=_NAMES[name])
        latency.plot(counts, [one["p99_ms"] for one in found], _STYLES[name], marker="o", label=_NAMES[name])
    cost.axhline(min(result["model_ms_per_s"].values()), color="grey", linestyle=":", label="the bare model")
    cost.set(xlabel="voices", ylabel="ms", title="CPU time of the server for a second of speech")
    latency.set(xlabel="voices", ylabel="ms", yscale="log", title="from the last sample needed to the result, p99")
    latency.axhline(500, color="grey", linestyle=":", label="real time")
    cost.set_ylim(bottom=0)
    for panel in (cost, latency):
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=120)


def _row(entry: dict[str, Any], name: str) -> str:
    found = entry["systems"][name]
    reference = entry["systems"].get("sherpa")
    share = f"**{found['cpu_ms_per_s'] / reference['cpu_ms_per_s']:.2f}**" if reference and name != "sherpa" else ""
    held = "yes" if found["held"] == 1 else "no" if found["held"] == 0 else "partly"
    ended = f", {found['ended']:.0f} ended" if found["ended"] else ""
    return (
        f"| {entry['voices']} | {entry['message_ms']} | {_NAMES[name]} | {found['cpu_ms_per_s']:.2f} | {share} "
        f"| {found['p50_ms']:.0f} | {found['p99_ms']:.0f} | {held}{ended} | {found['lag_s']:.2f} "
        f"| {found['server_cores']:.2f} | {found['sender_cores']:.2f} | {found['other_cores']:.2f} |"
    )


def _search_lines(searched: dict[str, Any]) -> list[str]:
    reference = searched["sherpa"]["most"] if "sherpa" in searched else 0
    lines = ["| system | most voices in real time | to sherpa-onnx | p50 ms | p99 ms | CPU ms a second of speech |"]
    lines.append("|---|--:|--:|--:|--:|--:|")
    for name, found in searched.items():
        share = f"**{found['most'] / reference:.2f}**" if reference else ""
        held = [one for one in found["tries"] if one["voices"] == found["most"]]
        figures = [f"{held[0][key]:.{digits}f}" for key, digits in _HELD_FIGURES] if held else [""] * 3
        lines.append(f"| {_NAMES[name]} | {found['most']} | {share} | {' | '.join(figures)} |")
    return [*lines, ""]


_HELD_FIGURES = (("p50_ms", 0), ("p99_ms", 0), ("cpu_ms_per_s", 2))


def _setting_lines(result: dict[str, Any]) -> list[str]:
    chosen = result["sherpa_settings"]
    lines = [
        "| sherpa-onnx's server: max-batch-size | num-work-threads | num-io-threads | loop-interval-ms "
        "| voices | CPU ms a second of speech | p50 ms | p99 ms | chosen |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for one in result["sherpa_tried"]:
        mark = "yes" if all(one[key] == chosen[key] for key in _SETTING_KEYS) else ""
        settings = " | ".join(str(one[key]) for key in _SETTING_KEYS)
        lines.append(
            f"| {settings} | {one['voices']} | {one['cpu_ms_per_s']:.2f} | {one['p50_ms']:.0f} | {one['p99_ms']:.0f} "
            f"| {mark} |"
        )
    return [*lines, ""]


def _memory_row(result: dict[str, Any], title: str, key: str, systems: list[str]) -> str:
    return f"| {title} | {' | '.join(f'{result[key][name]:.0f}' for name in systems)} |"


def live_table(found: Sequence[dict[str, Any]]) -> str:
    """Return voices from real recordings as Markdown."""
    rows = (
        f"| {one['voices'] - one['ended']} of {one['voices']} | {one['cpu_ms_per_s']:.0f} "
        f"| {one['behind_p50_s']:.2f} / {one['behind_p99_s']:.2f} "
        f"| {one['final_behind_p50_s']:.2f} / {one['final_behind_p99_s']:.2f} | {one['interval_s']:.2f} |"
        for one in found
    )
    head = "| voices let in | CPU, ms a second of a voice | interim text behind, p50 / p99 s | final, p50 / p99 s | "
    return "\n".join([f"{head}s between two texts |", "|---|--:|--:|--:|--:|", *rows])


def plot_live(found: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Draw how far text is behind, and CPU time, over the number of voices that were let in."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    ordered = sorted(found, key=lambda one: one["voices"] - one["ended"])
    counts = [one["voices"] - one["ended"] for one in ordered]
    figure, (behind, cost) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    behind.plot(counts, [one["behind_p50_s"] for one in ordered], "C0-o", label="p50")
    behind.plot(counts, [one["behind_p99_s"] for one in ordered], "C1-o", label="p99")
    behind.axhline(1.0, color="grey", linestyle=":", label="one second")
    behind.set(xlabel="voices", ylabel="s", title="from the end of the audio to its interim text")
    behind.legend()
    cost.plot(counts, [one["cpu_ms_per_s"] for one in ordered], "C0-o")
    cost.set(xlabel="voices", ylabel="ms", title="CPU time of the server for a second of a voice")
    for panel in (behind, cost):
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
