"""The figures of a run over the exported models as tables and as a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import machine_line

__all__ = ["GOAL_MODELS", "GOAL_SHARE", "goals", "plot", "tables"]

GOAL_MODELS = ("minilm_l6_v2", "efficientnet_lite0")
GOAL_SHARE = 0.85
"""Of what ONNX Runtime makes in process, with 32 calls at a time on the better front."""
_FRONTS = ("grpcio", "envoy")
_MANY = 32

Row = Mapping[str, Any]


def tables(result: Mapping[str, Any]) -> str:
    """Return the run as Markdown: goals, then a row a call with its rates, then what a row and a call cost in CPU."""
    lines = [f"{machine_line(dict(result))} Load average at the start: {result['load']:.2f}.", ""]
    lines += ["| goal | wanted | measured | met |", "|---|---|---|---|"]
    lines += [
        f"| {title} | {wanted} | {got} | {'yes' if met else '**no**'} |" for title, wanted, got, met in goals(result)
    ]
    lines += [
        "",
        "Rows, steps or calls a second. In process: the best batch up to as many rows as there are calls at a time. "
        "A share is of ONNX Runtime in process, where the call makes the model compute the same.",
        "",
        "| model | | call | at a time | PyTorch | ONNX Runtime | grpcio | envoy | ONNX Runtime / PyTorch "
        "| grpcio / ONNX Runtime | envoy / ONNX Runtime | p50 ms (grpcio, envoy) | p99 ms (grpcio, envoy) | failed |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|---|--:|",
        *(_rate_row(one) for one in result["workloads"]),
        "",
        "CPU time of a row or call in ms, on all threads; of the server with its transport, without the load "
        "generator, which took the cores named.",
        "",
        "| model | | call | at a time | PyTorch | ONNX Runtime | grpcio | envoy "
        "| load generator, cores (grpcio, envoy) | PyTorch ran as | ONNX Runtime ran as |",
        "|---|---|---|--:|--:|--:|--:|--:|---|---|---|",
        *(_cpu_row(one) for one in result["workloads"]),
    ]
    return "\n".join(lines)


def goals(result: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return the goals that the run can judge: what, what was wanted, what came, whether it is enough.

    Of two fronts the better one counts. Judged in FP32, by every call that makes the model compute the same.
    """
    found: list[tuple[str, str, str, bool]] = []
    for one in result["workloads"]:
        judged = (one["precision"], one["at_once"], one["same_work"]) == ("fp32", _MANY, True)
        if one["model"] not in GOAL_MODELS or not judged:
            continue
        front = max(_FRONTS, key=lambda name: one["systems"][name]["per_s"])
        share = _share(one, front)
        cpu_ms, bare_ms = one["systems"][front]["cpu_ms"], one["systems"]["onnxruntime"]["cpu_ms"]
        found.append(
            (
                f"{one['model']}, {one['call']}, {_MANY} at a time, of ONNX Runtime in process",
                f"{GOAL_SHARE:g}",
                f"{share:.2f} on {front}; CPU {cpu_ms:.2f} ms a call, {bare_ms:.2f} in process",
                share >= GOAL_SHARE,
            )
        )
    return found


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Draw, of each model with 32 calls at a time, the rates over that of ONNX Runtime in process."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    rows = [one for one in result["workloads"] if one["at_once"] == _MANY and one["same_work"]]
    figure, panel = pyplot.subplots(figsize=(9, 1.2 + 0.42 * len(rows)), layout="constrained")
    bars = (("torch", "PyTorch eager", "0.6"), ("grpcio", "Cuelight, grpcio", "C1"), ("envoy", "Cuelight, envoy", "C0"))
    for offset, (system, label, colour) in enumerate(bars):
        places = [place for place, one in enumerate(rows) if system in one["systems"]]
        shares = [_share(rows[place], system) for place in places]
        panel.barh([place + 0.27 * (offset - 1) for place in places], shares, 0.25, color=colour, label=label)
    panel.axvline(1.0, color="k", linestyle="--", linewidth=1, label="ONNX Runtime in process")
    names = [f"{one['model']}, {one['precision']}, {one['call']}" for one in rows]
    panel.set_yticks(range(len(rows)), names, fontsize=8)
    panel.invert_yaxis()
    panel.set(xlabel=f"rate with {_MANY} at a time, of ONNX Runtime in process")
    panel.grid(alpha=0.3, axis="x")
    panel.set_axisbelow(True)
    panel.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _share(one: Row, system: str) -> float:
    return float(one["systems"][system]["per_s"] / one["systems"]["onnxruntime"]["per_s"])


def _named(one: Row) -> str:
    sizes = "".join(f", {size:,} {name}" for name, size in one["sizes"].items())
    return f"| `{one['model']}`{sizes} | {one['precision']} | {one['call']} | {one['at_once']} "


def _rate_row(one: Row) -> str:
    systems = one["systems"]
    rates = " | ".join(_cell(systems, name, "per_s") for name in ("torch", "onnxruntime", *_FRONTS))
    gain = f"{systems['onnxruntime']['per_s'] / systems['torch']['per_s']:.2f}" if "torch" in systems else ""
    shares = " | ".join(f"**{_share(one, front):.2f}**" if one["same_work"] else "" for front in _FRONTS)
    latencies = " | ".join(", ".join(f"{systems[front][key]:.2f}" for front in _FRONTS) for key in ("p50_ms", "p99_ms"))
    failed = sum(systems[front]["failed"] for front in _FRONTS)
    return f"{_named(one)}| {rates} | {gain} | {shares} | {latencies} | {failed:.0f} |"


def _cpu_row(one: Row) -> str:
    systems = one["systems"]
    costs = " | ".join(_cell(systems, name, "cpu_ms") for name in ("torch", "onnxruntime", *_FRONTS))
    client = ", ".join(f"{systems[front]['client_cores']:.2f}" for front in _FRONTS)
    how = " | ".join(systems[name]["how"] if name in systems else "" for name in ("torch", "onnxruntime"))
    return f"{_named(one)}| {costs} | {client} | {how} |"


def _cell(systems: Mapping[str, Row], name: str, key: str) -> str:
    return _rounded(systems[name][key]) if name in systems else ""


def _rounded(value: float) -> str:
    """Return three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
