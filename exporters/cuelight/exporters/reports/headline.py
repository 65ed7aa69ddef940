"""What a reader wants to know of an export before all else: did its proof hold, how close, how fast, how large."""

import math
from typing import NamedTuple

from cuelight.exporters.reports.report import Report

__all__ = ["Headline", "heading", "headlines", "megabytes", "milliseconds", "share_text", "verdict"]

_LARGEST_SHARE = 10
"""A share above it is told as so many times."""


class Headline(NamedTuple):
    """A figure with its unit, what it is, and what it is to be seen beside; the last may be empty."""

    name: str
    figure: str
    beside: str


def heading(report: Report) -> tuple[str, str]:
    """Return the model's name and its version in words."""
    model = report["model"]
    return model["name"], "not written" if model["version"] is None else f"version {model['version']}"


def verdict(report: Report) -> tuple[str, bool]:
    """Return how the proof ended, in words, and whether it passed."""
    if "parity" not in report:
        return "proven", True
    if not report["parity"]["passed"]:
        return "does not agree with PyTorch", False
    return ("loses no more than it may" if "quantization" in report else "agrees with PyTorch"), True


def headlines(report: Report) -> list[Headline]:
    """Return the figures that the page begins with; those that a report does not have are left out."""
    if "quantization" in report:
        return [*_quantized(report["quantization"]), _cuda(report)]
    made = {"parity": _worst, "speed": _speed, "model": _size, "cuda": _cuda}
    found = [make(report) for section, make in made.items() if section in report]
    return [headline for headline in found if headline.figure]


def megabytes(size_bytes: int) -> str:
    """Return a size in the unit that suits it, three digits of it."""
    if size_bytes < 1_000:
        return f"{size_bytes} bytes"
    unit, name = (1e3, "kB") if size_bytes < 999_500 else (1e6, "MB") if size_bytes < 999_500_000 else (1e9, "GB")
    return f"{size_bytes / unit:#.3g}".rstrip(".") + f" {name}"


def milliseconds(seconds: float) -> str:
    """Return a time with its unit, three digits of it."""
    return f"{seconds * 1e3:,.0f} ms" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def share_text(share: float) -> str:
    """Return a share of what is allowed, as so many times that where it is far above."""
    if not math.isfinite(share):
        return "infinite"
    return f"{share:.1%}" if share <= _LARGEST_SHARE else f"{share:,.0f} times"


def _quantized(made: Report) -> list[Headline]:
    """Its tolerance is that of its own error, so what share of it was used says nothing."""
    speed = made["speed"][0]
    may_lose = f"FP32: {made['before']:.4g}; it may lose {made['may_lose']:g}"
    return [
        Headline(made["accuracy"], f"{made['after']:.4g}", may_lose),
        Headline(
            f"batch {speed['batch']}, one thread",
            milliseconds(speed["quantized_s"]),
            f"FP32 in turns: {milliseconds(speed['fp32_s'])}",
        ),
        Headline("ONNX", megabytes(made["bytes_after"]), f"FP32: {megabytes(made['bytes_before'])}"),
    ]


def _worst(report: Report) -> Headline:
    parity = report["parity"]
    share = max((row["share_of_tolerance"] for row in parity["worst"]), default=0.0)
    return Headline("worst error", share_text(share), f"of what is allowed; {parity['comparisons']:,} comparisons")


def _speed(report: Report) -> Headline:
    row = report["speed"]["rows"][0]
    axes = "".join(f", {name} {size}" for name, size in report["speed"]["axes"].items())
    beside = f"PyTorch: {milliseconds(row['torch_s'])}"
    return Headline(f"batch {row['batch']}{axes}, one thread", milliseconds(row["onnxruntime_s"]), beside)


def _size(report: Report) -> Headline:
    model = report["model"]
    sizes = [size for name, size in model["files_bytes"].items() if name.endswith(".onnx")]
    parameters = f"{model['parameters']:,} parameters" if "parameters" in model else ""
    files = "" if len(sizes) < 2 else f"{len(sizes)} files"
    said = ", ".join(filter(None, (files, parameters)))
    return Headline("ONNX", megabytes(sum(sizes)) if sizes else "", said)


def _cuda(report: Report) -> Headline:
    nodes, back = report["cuda"]["nodes"], len(report["cuda"]["fallback"])
    if not back:
        return Headline("on CUDA", "all nodes", "none falls back to the CPU")
    return Headline("on CUDA", f"{back} of {nodes}", "nodes fall back to the CPU")
