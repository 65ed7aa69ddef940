"""Proof that the ONNX file computes what the PyTorch module computes, over sizes, steps and seeds.

A model with state is stepped on both sides, each side fed its own state, so that a drift would add up and show.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from cuelight.exporters.errors import ExportError
from cuelight.exporters.probe import outputs_of
from cuelight.exporters.sizes import BATCH, Sizes, describe_sizes, example_of, parity_sizes
from cuelight.exporters.spec import Arrays, ExportSpec
from cuelight.exporters.threads import open_on_one_thread

__all__ = [
    "Case",
    "OutputParity",
    "ParityError",
    "ParityReport",
    "check_parity",
    "compare",
    "run_onnx",
    "run_torch",
    "table",
]


@dataclass(frozen=True, slots=True)
class OutputParity:
    """How far one output of one case is off.

    `max_abs_error` is the largest absolute error, `where` its index; `max_rel_error` the largest error relative to the
    wanted value, over values whose magnitude is above `atol`; `share_of_tolerance` the largest share of what is
    allowed. `axes` are the sizes beside the batch.
    """

    batch: int
    step: int
    output: str
    max_abs_error: float
    share_of_tolerance: float
    max_rel_error: float = 0.0
    where: tuple[int, ...] = ()
    axes: tuple[tuple[str, int], ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs of one run, for which an output was beyond its tolerance."""

    sizes: Sizes
    step: int
    inputs: Arrays


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Every comparison of one export; `failure` is the first case that failed."""

    name: str
    atol: float
    rtol: float
    rows: tuple[OutputParity, ...]
    torch_version: str
    onnxruntime_version: str
    failure: Case | None = None

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


class ParityError(ExportError):
    """The export does not compute what the module computes; `report` says by how much, `difference` where it begins."""

    def __init__(self, report: ParityReport, difference: str = "") -> None:
        text = f"{report.name}: the ONNX file does not agree with PyTorch\n{table(report)}"
        super().__init__(f"{text}\n{difference}" if difference else text)
        self.report = report
        self.difference = difference


def check_parity(spec: ExportSpec, module: nn.Module, model: Path, seed: int) -> ParityReport:
    """Run both sides over every size, seed and step and return the comparison, passed or not.

    Raises: ExportError when ONNX Runtime cannot run the file at one of the sizes.
    """
    session = open_on_one_thread(model)
    rows: list[OutputParity] = []
    failure: Case | None = None
    # On a terminal alone, and only where it takes a while.
    runs = tqdm(
        _runs(spec, module, session, seed), "comparing with PyTorch", unit=" runs", leave=False, delay=1, disable=None
    )
    for sizes, of_seed, step, inputs, got, want in runs:
        axes = tuple((name, size) for name, size in sizes.items() if name != BATCH)
        case = [compare(spec, sizes[BATCH], step, name, got[name], want[name], axes, of_seed) for name in spec.outputs]
        rows += case
        if failure is None and any(not row.share_of_tolerance <= 1 for row in case):
            failure = Case(sizes, step, inputs)
    return ParityReport(spec.name, spec.atol, spec.rtol, tuple(rows), torch.__version__, ort.__version__, failure)


def run_torch(spec: ExportSpec, module: nn.Module, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the module's outputs by name. The inputs are copied: a module may write into its own."""
    with torch.inference_mode():
        returned = module(*(torch.from_numpy(array.copy()) for array in inputs.values()))
    return {name: tensor.numpy() for name, tensor in outputs_of(spec, returned).items()}


def run_onnx(spec: ExportSpec, session: ort.InferenceSession, inputs: Arrays, sizes: Sizes) -> Arrays:
    """Return the file's outputs by name. Raises: ExportError when it cannot be run at these sizes."""
    # An input that the graph does not use has been dropped from it.
    taken = {node.name for node in session.get_inputs()}
    try:
        outputs = session.run(list(spec.outputs), {name: array for name, array in inputs.items() if name in taken})
    except Exception as error:
        # ONNX Runtime raises a type of its own for every way a run can fail.
        raise ExportError(
            f"{spec.name}: the ONNX file cannot be run with {describe_sizes(sizes)}, which the module can: a size of "
            f"the traced example was burnt into the graph\n  ({str(error).strip().splitlines()[0]})"
        ) from error
    return dict(zip(spec.outputs, outputs, strict=True))


def compare(
    spec: ExportSpec,
    batch: int,
    step: int,
    name: str,
    got: NDArray[Any],
    want: NDArray[Any],
    axes: tuple[tuple[str, int], ...] = (),
    seed: int = 0,
) -> OutputParity:
    """Measure one output against what is allowed.

    Another shape or datatype, or a NaN on one side, is infinitely far off.
    """
    infinite = float("inf")
    if got.shape != want.shape or got.dtype != want.dtype:
        return OutputParity(batch, step, name, infinite, infinite, infinite, (), axes, seed)
    magnitude = np.abs(want.astype(np.float64))
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - want.astype(np.float64))
        allowed = spec.atol + spec.rtol * magnitude
    # A NaN on one side only is infinitely wrong; comparisons with NaN would hide it.
    same = (np.isnan(got) & np.isnan(want)) | (got == want)
    error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
    share = np.divide(error, allowed, out=np.where(error > 0, np.inf, 0.0), where=(allowed > 0) & np.isfinite(allowed))
    relative = np.divide(error, magnitude, out=np.zeros_like(error), where=(magnitude > spec.atol) & (error > 0))
    where = np.unravel_index(int(error.argmax()), error.shape) if error.size else ()
    return OutputParity(
        batch,
        step,
        name,
        float(error.max(initial=0.0)),
        float(share.max(initial=0.0)),
        float(relative.max(initial=0.0)),
        tuple(int(index) for index in where),
        axes,
        seed,
    )


def table(report: ParityReport) -> str:
    """Return the report as lines for a person: the worst row of each output."""
    lines = [f"{'output':<16}{'batch':>6}{'step':>6}{'max abs error':>16}{'of tolerance':>14}"]
    for row in report.worst():
        share = f"{row.share_of_tolerance:.1%}"
        axes = "".join(f"  {name} {size}" for name, size in row.axes)
        lines.append(f"{row.output:<16}{row.batch:>6}{row.step:>6}{row.max_abs_error:>16.2e}{share:>14}{axes}")
    verdict = "agree" if report.passed else "DO NOT AGREE"
    lines.append(f"{len(report.rows)} comparisons with PyTorch {verdict} (atol {report.atol:g}, rtol {report.rtol:g})")
    return "\n".join(lines)


def _runs(
    spec: ExportSpec, module: nn.Module, session: ort.InferenceSession, seed: int
) -> Iterator[tuple[Sizes, int, int, Arrays, Arrays, Arrays]]:
    """Yield sizes, seed, step, the module's inputs, the file's outputs and the module's."""
    for of_seed in range(seed, seed + spec.parity_seeds):
        generator = torch.Generator().manual_seed(of_seed)
        for sizes in parity_sizes(spec):
            theirs: Arrays = {}
            ours: Arrays = {}
            for step in range(spec.parity_steps):
                inputs = {name: tensor.numpy() for name, tensor in example_of(spec, generator, sizes).items()}
                want = run_torch(spec, module, {**inputs, **theirs})
                got = run_onnx(spec, session, {**inputs, **ours}, sizes)
                yield sizes, of_seed, step, {**inputs, **theirs}, got, want
                theirs = {pair.input: want[pair.output] for pair in spec.state}
                ours = {pair.input: got[pair.output] for pair in spec.state}
