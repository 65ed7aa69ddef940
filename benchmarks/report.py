"""The figures of a run as tables and as a plot."""

from pathlib import Path
from typing import Any

__all__ = ["machine_line", "plot", "tables"]

_CALLS = {"unary": "unary", "ping-pong": "streamed, one message at a time", "stream": "streamed, sent ahead"}
_NAMES = {"echo": "bare grpcio echo", "grpcio": "Cuelight, grpcio", "envoy": "Cuelight, envoy"}


def tables(result: dict[str, Any]) -> str:
    """Return the run as Markdown: one row a workload, rates as ratios to the echo, then memory and start."""
    lines = [
        machine_line(result),
        "",
        "| model | call | at a time | echo | grpcio | envoy | grpcio / echo | envoy / echo "
        "| p50 ms (echo, grpcio, envoy) | p99 ms (echo, grpcio, envoy) | failed |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|---|--:|",
        *(_row(workload) for workload in result["workloads"]),
        "",
        "| model | in process, rows/s | how | grpcio at 32 | envoy at 32 |",
        "|---|--:|---|--:|--:|",
        *(_bare_row(result, model) for model in result["in_process"]),
        "",
        "| | start to ready, s | memory with the tiny model, MiB | with both, idle, MiB | after the run, MiB |",
        "|---|--:|--:|--:|--:|",
        *(_process_row(result, system) for system in _NAMES),
    ]
    return "\n".join(lines)


def machine_line(result: dict[str, Any]) -> str:
    """Return what the run was measured on and how."""
    machine = result["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, the load generator on the same cores; "
        f"{machine['system']}, Python {machine['python']}, grpcio {machine['grpcio']}, "
        f"ONNX Runtime {machine['onnxruntime']}; {machine['date']}; "
        f"median of {result['rounds']} rounds of {result['seconds']:g} s."
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw the rates of unary calls over the number of calls at a time, one panel a model."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    models = list(result["in_process"])
    figure, panels = pyplot.subplots(1, len(models), figsize=(5.5 * len(models), 4), layout="constrained")
    for panel, model in zip(panels, models, strict=True):
        workloads = [one for one in result["workloads"] if one["model"] == model and one["kind"] == "unary"]
        for system, name in _NAMES.items():
            rates = [one["systems"][system]["per_s"] for one in workloads]
            panel.plot([one["concurrency"] for one in workloads], rates, marker="o", label=name)
        panel.set(xscale="log", xlabel="calls at a time", ylabel="calls a second", title=f"{model}, unary")
        panel.set_xticks([one["concurrency"] for one in workloads], [str(one["concurrency"]) for one in workloads])
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=120)


def _row(workload: dict[str, Any]) -> str:
    systems = [workload["systems"][name] for name in _NAMES]
    echo = systems[0]["per_s"]
    rates = " | ".join(f"{system['per_s']:,.0f}" for system in systems)
    ratios = " | ".join(f"**{system['per_s'] / echo:.2f}**" for system in systems[1:])
    if workload["kind"] == "stream":
        latencies = " | "
    else:
        latencies = " | ".join(", ".join(f"{system[key]:.2f}" for system in systems) for key in ("p50_ms", "p99_ms"))
    failed = sum(int(system["failed"]) for system in systems)
    call = _CALLS[workload["kind"]]
    return f"| {workload['model']} | {call} | {workload['concurrency']} | {rates} | {ratios} | {latencies} | {failed} |"


def _bare_row(result: dict[str, Any], model: str) -> str:
    bare = result["in_process"][model]
    at_32 = next(
        one["systems"]
        for one in result["workloads"]
        if (one["model"], one["kind"], one["concurrency"]) == (model, "unary", 32)
    )
    shares = " | ".join(f"**{at_32[system]['per_s'] / bare['rows_per_s']:.2f}**" for system in ("grpcio", "envoy"))
    return f"| {model} | {bare['rows_per_s']:,.0f} | {bare['how']} | {shares} |"


def _process_row(result: dict[str, Any], system: str) -> str:
    tiny = result["memory_tiny_mib"].get(system)
    return (
        f"| {_NAMES[system]} | {result['ready_after_s'][system]:.2f} | {'' if tiny is None else f'{tiny:.0f}'} "
        f"| {result['memory_idle_mib'][system]:.0f} | {result['memory_after_mib'][system]:.0f} |"
    )
