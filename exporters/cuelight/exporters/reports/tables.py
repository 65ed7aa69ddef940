"""The report's tables, as text cells: the page and the terminal show the same ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cuelight.exporters.reports.headline import share_text
from cuelight.exporters.reports.report import Report

__all__ = ["Table", "tables"]

_FALLBACK_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table with a sentence under the title. `numbers` are the columns set to the right.

    `long` tables have a row a case: the page folds them away, the terminal leaves them out.
    """

    title: str
    text: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    long: bool = False


def tables(report: Report) -> list[Table]:
    """Return a report's tables, in the order to be read; a model published as files has no parity and no speed."""
    made = {
        "quantization": (_quantization,),
        "parity": (_parity, _sizes),
        "speed": (_speed,),
        "graph": (_graph,),
        "golden": (_golden,),
        "cuda": (_cuda,),
    }
    return [make(report) for section, makers in made.items() if section in report for make in makers]


def _quantization(report: Report) -> Table:
    made = report["quantization"]
    excluded = ", ".join(made["excluded"]) or "none"
    text = (
        f"{made['method']}, beside the FP32 file it was made from, on one thread in turns. {made['accuracy']}: it may "
        f"lose {made['may_lose']:g}. Nodes left in FP32: {excluded}."
    )
    rows = [
        (made["accuracy"], f"{made['before']:.4f}", f"{made['after']:.4f}", f"{made['after'] - made['before']:+.4f}"),
        ("bytes", f"{made['bytes_before']:,}", f"{made['bytes_after']:,}", _times(made, "bytes_before", "bytes_after")),
        *(
            (
                f"ms, batch {row['batch']}",
                f"{1e3 * row['fp32_s']:.3f}",
                f"{1e3 * row['quantized_s']:.3f}",
                _times(row, "fp32_s", "quantized_s"),
            )
            for row in made["speed"]
        ),
    ]
    return Table("Quantization", text, ("", "FP32", made["method"], ""), tuple(rows), frozenset({1, 2, 3}))


def _times(row: dict[str, Any], before: str, after: str) -> str:
    return f"{row[before] / row[after]:.2f} times less"


def _parity(report: Report) -> Table:
    parity = report["parity"]
    verdict = "agree" if parity["passed"] else "DO NOT AGREE"
    axes = "".join(f", {name} {_listed(sizes)}" for name, sizes in parity["axes"].items())
    steps, seeds = (_plural(word, parity[f"{word}s"]) for word in ("step", "seed"))
    text = (
        f"{parity['comparisons']:,} comparisons with PyTorch {parity['torch']} {verdict}: batch "
        f"{_listed(parity['batches'])}{axes}, {parity['steps']} {steps}, {seeds} {_listed(parity['seeds'])}; allowed "
        f"is {parity['atol']:g} + {parity['rtol']:g} of the wanted value, and share is how much of that was used. "
        f"ONNX Runtime {parity['onnxruntime']}."
    )
    return Table("Parity: the worst of each output", text, _PARITY_COLUMNS, _rows(parity["worst"]), _PARITY_NUMBERS)


_PARITY_COLUMNS = ("output", "size", "step", "seed", "max abs", "max rel", "at", "share")
_PARITY_NUMBERS = frozenset({2, 3, 4, 5, 7})


def _sizes(report: Report) -> Table:
    text = "The worst step and seed of each size. max rel is over values above atol."
    return Table("Parity: each size", text, _PARITY_COLUMNS, _rows(report["parity"]["by_size"]), _PARITY_NUMBERS, True)


def _rows(found: Iterable[dict[str, Any]]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            row["output"],
            ", ".join([f"batch {row['batch']}", *(f"{name} {size}" for name, size in row["axes"])]),
            str(row["step"]),
            str(row["seed"]),
            f"{row['max_abs_error']:.2e}",
            f"{row['max_rel_error']:.2e}",
            str(list(row["where"])),
            share_text(row["share_of_tolerance"]),
        )
        for row in found
    )


def _speed(report: Report) -> Table:
    speed = report["speed"]
    axes = "".join(f", {name} {size}" for name, size in speed["axes"].items())
    text = (
        f"One call of each side, one thread each, in turns within one run: the fastest of its rounds, which other load "
        f"of the machine disturbs least. {speed['machine']}{axes}."
    )
    rows = tuple(
        (
            str(row["batch"]),
            f"{1e3 * row['onnxruntime_s']:.3f}",
            f"{1e3 * row['torch_s']:.3f}",
            f"{row['torch_s'] / row['onnxruntime_s']:.2f}",
        )
        for row in speed["rows"]
    )
    columns = ("batch", "ONNX Runtime, ms", "PyTorch eager, ms", "times as fast")
    return Table("Speed", text, columns, rows, frozenset({0, 1, 2, 3}))


def _graph(report: Report) -> Table:
    graph, model = report["graph"], report["model"]
    size = model["files_bytes"].get("model.onnx", 0) / 1e6
    parameters = f", {model['parameters']:,} parameters" if "parameters" in model else ""
    text = (
        f"{graph['nodes']:,} nodes, opset {graph['opset']}{parameters}; the file holds "
        f"{graph['values']:,} values ({graph['values_bytes'] / 1e6:.2f} MB) and has {size:.2f} MB."
    )
    rows = tuple((name, str(count)) for name, count in graph["operators"].items())
    return Table("Graph", text, ("operator", "nodes"), rows, frozenset({1}))


def _golden(report: Report) -> Table:
    golden = report["golden"]
    text = f"{golden['cases']} cases, {golden['bytes']:,} bytes, replayed by the server at every load. The first case:"
    rows = tuple((name, str(shape)) for name, shape in golden["first_case_shapes"].items())
    return Table("Golden vectors", text, ("tensor", "shape"), rows)


def _cuda(report: Report) -> Table:
    files = {"model.onnx": report["cuda"], **report.get("cuda_beside", {})}
    rows = [
        (file, node["node"], node["operator"], node["why"]) for file, cuda in files.items() for node in cuda["fallback"]
    ]
    more = f" The first {_FALLBACK_SHOWN} are listed." if len(rows) > _FALLBACK_SHOWN else ""
    counted = " ".join(f"{_divided(file, cuda)}." for file, cuda in files.items())
    text = (
        f"{counted} Counted after ONNX Runtime's basic simplification, and worked out without a GPU from the kernels "
        f"of {report['cuda']['kernels_of']}, by operator and type; opset ranges and most conditions on attributes are "
        f"not looked at.{more}"
    )
    return Table("On CUDA", text, ("file", "falls back to the CPU", "operator", "why"), tuple(rows[:_FALLBACK_SHOWN]))


def _divided(file: str, cuda: Report) -> str:
    return (
        f"{file}: of {cuda['nodes']} nodes {cuda['cuda_nodes']} would run on CUDA, {cuda['shape_nodes']} do shape "
        f"arithmetic and stay on the CPU by choice, {len(cuda['fallback'])} would fall back to it for want of a kernel"
    )


def _plural(word: str, of: int | list[int]) -> str:
    count = of if isinstance(of, int) else len(of)
    return word if count == 1 else f"{word}s"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
