"""Proof that the ONNX file computes what the PyTorch module computes, over batch sizes and steps.

A model with state is stepped on both sides, each side fed its own state, so that a drift would add up and show.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cuelight.exporters.spec import ExportSpec

__all__ = ["Case", "OutputParity", "ParityError", "ParityReport", "check_parity", "run_torch", "table"]

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class OutputParity:
    """How far one output of one case is off: the largest absolute error, and the largest share of what is allowed."""

    batch: int
    step: int
    output: str
    max_abs_error: float
    share_of_tolerance: float


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs of one run and PyTorch's outputs for them."""

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Every comparison of one export."""

    name: str
    atol: float
    rtol: float
    rows: tuple[OutputParity, ...]
    torch_version: str
    onnxruntime_version: str

    @property
    def passed(self) -> bool:
        """Whether every output is within its tolerance."""
        return all(row.share_of_tolerance <= 1 for row in self.rows)

    def worst(self) -> list[OutputParity]:
        """Return, for each output, the row with the largest share of its tolerance."""
        worst: dict[str, OutputParity] = {}
        for row in self.rows:
            if row.output not in worst or not row.share_of_tolerance <= worst[row.output].share_of_tolerance:
                worst[row.output] = row
        return list(worst.values())

    def summary(self) -> dict[str, Any]:
        """Return what goes into the model's metadata."""
        return {
            "atol": self.atol,
            "rtol": self.rtol,
            "comparisons": len(self.rows),
            "torch": self.torch_version,
            "onnxruntime": self.onnxruntime_version,
            "worst": [asdict(row) for row in self.worst()],
        }


class ParityError(Exception):
    """The export does not compute what the module computes; `report` says where and by how much."""

    def __init__(self, report: ParityReport) -> None:
        super().__init__(f"{report.name}: the ONNX file does not agree with PyTorch\n{table(report)}")
        self.report = report


def check_parity(spec: ExportSpec, module: nn.Module, model: Path, seed: int) -> ParityReport:
    """Run both sides over every batch size and step and return the comparison.

    Raises: ParityError when one output is beyond its tolerance, or not of the same shape.
    """
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(seed)
    rows: list[OutputParity] = []
    for batch in spec.parity_batches:
        theirs: Arrays = {}
        ours: Arrays = {}
        for step in range(spec.parity_steps):
            inputs = {name: tensor.numpy() for name, tensor in spec.example(generator, batch).items()}
            want = run_torch(spec, module, {**inputs, **theirs})
            got = dict(zip(spec.outputs, session.run(list(spec.outputs), {**inputs, **ours}), strict=True))
            rows += [_compare(spec, batch, step, name, got[name], want[name]) for name in spec.outputs]
            theirs = {pair.input: want[pair.output] for pair in spec.state}
            ours = {pair.input: got[pair.output] for pair in spec.state}
    report = ParityReport(spec.name, spec.atol, spec.rtol, tuple(rows), torch.__version__, ort.__version__)
    if not report.passed:
        raise ParityError(report)
    return report


def run_torch(spec: ExportSpec, module: nn.Module, inputs: Arrays) -> Arrays:
    """Return the module's outputs by name."""
    with torch.inference_mode():
        outputs = module(*(torch.from_numpy(array) for array in inputs.values()))
    tensors: tuple[Tensor, ...] = outputs if isinstance(outputs, tuple) else (outputs,)
    return {name: tensor.numpy() for name, tensor in zip(spec.outputs, tensors, strict=True)}


def table(report: ParityReport) -> str:
    """Return the report as lines for a person: the worst row of each output."""
    lines = [f"{'output':<16}{'batch':>6}{'step':>6}{'max abs error':>16}{'of tolerance':>14}"]
    for row in report.worst():
        share = f"{row.share_of_tolerance:.1%}"
        lines.append(f"{row.output:<16}{row.batch:>6}{row.step:>6}{row.max_abs_error:>16.2e}{share:>14}")
    verdict = "agree" if report.passed else "DO NOT AGREE"
    lines.append(f"{len(report.rows)} comparisons with PyTorch {verdict} (atol {report.atol:g}, rtol {report.rtol:g})")
    return "\n".join(lines)


def _compare(spec: ExportSpec, batch: int, step: int, name: str, got: NDArray[Any], want: NDArray[Any]) -> OutputParity:
    if got.shape != want.shape:
        return OutputParity(batch, step, name, float("inf"), float("inf"))
    error = np.abs(got.astype(np.float64) - want.astype(np.float64))
    allowed = spec.atol + spec.rtol * np.abs(want.astype(np.float64))
    # A NaN on one side only is infinitely wrong; comparisons with NaN would hide it.
    error = np.where(np.isnan(got) & np.isnan(want), 0.0, np.where(np.isnan(error), np.inf, error))
    exceeds = np.where(error > 0, np.inf, 0.0)
    share = np.divide(error, allowed, out=exceeds, where=allowed > 0)
    return OutputParity(batch, step, name, float(error.max(initial=0.0)), float(share.max(initial=0.0)))
