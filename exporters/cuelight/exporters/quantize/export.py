"""`cuelight export NAME --quantize METHOD`: a smaller file of a model, as an entry `<name>_int8` and the like.

    FP32 file, proven -> prepare -> convert -> measure -> (leave nodes alone, convert, measure)* -> parity -> golden

It is a model beside the FP32 one and not a version of it, so that clients choose by name and neither replaces the
other. The golden vectors hold PyTorch's own outputs, for calibration inputs where there are some, and as tolerance a
quarter more than the largest error that was measured against them: on a processor that computes 8 bits much otherwise,
the server does not load the file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cuelight.exporters.errors import ExportError
from cuelight.exporters.export import Export, Written, write_proven, write_version
from cuelight.exporters.parity import ParityReport, check_parity
from cuelight.exporters.quantize.exclusion import fewest_excluded
from cuelight.exporters.quantize.judge import closeness_to, inputs_of, run_of
from cuelight.exporters.quantize.methods import CONVERTED, candidates, check_opens, convert, prepare, quantized_name
from cuelight.exporters.reports.report import read_report
from cuelight.exporters.reports.speed import in_turns
from cuelight.exporters.sizes import example_of, golden_axes, trace_sizes
from cuelight.exporters.spec import Accuracy, Arrays, ExportSpec

__all__ = ["QuantizationError", "export_quantized", "quantization_text"]

_SPEED_BATCHES = (1, 8)
_COST_INPUTS = 4
_MARGIN = 1.25
"""The tolerance of the golden vectors, over the largest error measured."""


class QuantizationError(ExportError):
    """The converted file loses more than it may, whatever nodes are left alone, or gives what no tolerance covers."""


def export_quantized(
    spec: ExportSpec, method: str, repository: Path, cache_dir: Path, version: int | None = None, seed: int = 0
) -> Export:
    """Export a model by one of `METHODS` into `<repository>/<quantized_name>/<version>/`.

    Raises: QuantizationError when it loses more than it may; ExportError when the method needs calibration data and
    the spec gives none, or the model is of more than one graph; otherwise as `export_model`.
    """
    if spec.further:
        graphs = ", ".join(f"{name}.onnx" for name in ("model", *(graph.name for graph in spec.further)))
        raise ExportError(
            f"{spec.name}: {graphs} make one model, and --quantize converts models of a single graph: serve it in FP32"
        )
    calibration = spec.calibration(cache_dir) if spec.calibration is not None else []
    if method == "int8-static" and not calibration:
        raise ExportError(f"{spec.name}: int8-static needs calibration data: --calibration, or that of a spec")
    named = replace(spec, name=quantized_name(spec.name, method), summary=f"{spec.summary}, in {method}")
    if calibration and not spec.state and not spec.axes:
        named = replace(named, example=_drawn_from(calibration))

    def write(module: nn.Module, model: Path) -> Written:
        with TemporaryDirectory() as scratch:
            fp32 = Path(scratch) / "fp32.onnx"
            write_proven(spec, module, fp32, seed)
            return _Quantization(named, method, fp32, model, calibration, cache_dir, seed).written(module)

    return write_version(named, repository, cache_dir, version, seed, write)


def _drawn_from(calibration: Sequence[Arrays]) -> Callable[..., dict[str, Tensor]]:
    """Return an example function: rows of the calibration inputs. What is far from practice says nothing about int8."""

    def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        rows = torch.randint(len(calibration), (batch,), generator=generator).tolist()
        return {
            name: torch.from_numpy(np.concatenate([calibration[row][name][:1] for row in rows]))
            for name in calibration[0]
        }

    return example


def quantization_text(folder: Path) -> str:
    """Return what a version's report says of what was lost and won, for a person."""
    made = read_report(folder)["quantization"]
    speed = made["speed"][0]
    lines = [
        f"{made['method']}: {made['accuracy']} {made['before']:.4f} -> {made['after']:.4f}, "
        f"which may lose {made['may_lose']:g}",
        f"{made['bytes_before'] / 1e6:.2f} -> {made['bytes_after'] / 1e6:.2f} MB, a row "
        f"{1e3 * speed['fp32_s']:.3f} -> {1e3 * speed['quantized_s']:.3f} ms on one thread",
    ]
    if made["excluded"]:
        lines.append(f"left in FP32: {', '.join(made['excluded'])}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Quantization:
    spec: ExportSpec
    method: str
    fp32: Path
    model: Path
    calibration: Sequence[Arrays]
    cache_dir: Path
    seed: int

    def written(self, module: nn.Module) -> Written:
        """Write the file and return its proof."""
        prepare(self.method, self.fp32, self._prepared)
        accuracy = self._accuracy()
        before = accuracy.measure(run_of(self.fp32), self.cache_dir)
        excluded, after = self._convert(accuracy, before)
        spec, parity = self._tolerance(module)
        section = {
            "method": self.method,
            "excluded": list(excluded),
            "accuracy": accuracy.name,
            "before": before,
            "after": after,
            "may_lose": accuracy.may_lose,
            "bytes_before": self.fp32.stat().st_size,
            "bytes_after": self.model.stat().st_size,
            "speed": [self._speed(batch) for batch in _SPEED_BATCHES if batch <= self.spec.max_batch_size],
        }
        told = {f"cuelight.quantization.{key}": str(section[key]) for key in ("method", "accuracy", "before", "after")}
        return Written(spec, parity, metadata=told, sections={"quantization": section})

    @property
    def _prepared(self) -> Path:
        return self.fp32.with_name("prepared.onnx")

    def _accuracy(self) -> Accuracy:
        if self.spec.accuracy is not None:
            return self.spec.accuracy
        inputs = inputs_of(self.spec, self.calibration, self.seed)
        return closeness_to(run_of(self.fp32), self.spec, self.method, inputs)

    def _convert(self, accuracy: Accuracy, before: float) -> tuple[tuple[str, ...], float]:
        nodes = candidates(self.method, self._prepared)
        if not nodes:
            raise QuantizationError(
                f"{self.spec.name}: {self.method} has nothing to convert in it, for it converts "
                f"{CONVERTED[self.method]}"
            )

        def measured(excluded: tuple[str, ...]) -> float:
            convert(self.method, self._prepared, self.model, self.calibration, excluded)
            if not excluded:
                check_opens(self.model)
            return accuracy.measure(run_of(self.model), self.cache_dir)

        least = before - accuracy.may_lose
        (excluded, after), holds = fewest_excluded(nodes, self._cost_alone(nodes), measured, least)
        if not holds:
            raise QuantizationError(
                f"{self.spec.name}: {accuracy.name} falls from {before:.4f} to {after:.4f} at best, with "
                f"{len(excluded)} of {len(nodes)} nodes left in FP32; it may lose {accuracy.may_lose:g}"
            )
        return excluded, after

    def _cost_alone(self, nodes: Sequence[str]) -> Callable[[str], float]:
        """Return what tells how far off the outputs are when one node alone is converted."""
        inputs = inputs_of(self.spec, self.calibration, self.seed)[:_COST_INPUTS]
        bar = tqdm(total=len(nodes), desc="trying each node alone", unit="node", leave=False, delay=1)
        measure = closeness_to(run_of(self.fp32), self.spec, self.method, inputs).measure

        def cost(node: str) -> float:
            alone = self.fp32.with_name("alone.onnx")
            others = [name for name in nodes if name != node]
            convert(self.method, self._prepared, alone, self.calibration[:_COST_INPUTS], others)
            bar.update()
            if bar.n == bar.total:
                bar.close()
            return 1 - measure(run_of(alone), self.cache_dir)

        return cost

    def _tolerance(self, module: nn.Module) -> tuple[ExportSpec, ParityReport]:
        """Return the spec with the tolerance that the file keeps, and its comparison with PyTorch under that.

        Raises: QuantizationError where no tolerance is enough.
        """
        anything = replace(self.spec, atol=float("inf"), rtol=0.0)
        # The cases of the golden vectors, as `export` makes them, and those of the parity.
        golden = replace(anything, parity_batches=self.spec.golden_batches, axes=golden_axes(self.spec))
        reports = [
            check_parity(golden, module, self.model, self.seed + 1),
            check_parity(anything, module, self.model, self.seed),
        ]
        worst = max((row for report in reports for row in report.rows), key=lambda row: row.max_abs_error)
        largest = worst.max_abs_error
        if not np.isfinite(largest):
            raise QuantizationError(
                f'{self.spec.name}: output "{worst.output}" is infinitely far from PyTorch with batch {worst.batch}, '
                f"step {worst.step}: another shape or datatype, or no number where PyTorch has one"
            )
        spec = replace(self.spec, atol=max(self.spec.atol, _MARGIN * largest), rtol=self.spec.rtol)
        return spec, check_parity(spec, module, self.model, self.seed)

    def _speed(self, batch: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self.seed)
        tensors = example_of(self.spec, generator, trace_sizes(self.spec, batch))
        inputs = {name: tensor.numpy() for name, tensor in tensors.items()}
        fp32, quantized = run_of(self.fp32), run_of(self.model)
        fp32_s, quantized_s = in_turns(lambda: fp32(inputs), lambda: quantized(inputs))
        return {"batch": batch, "fp32_s": fp32_s, "quantized_s": quantized_s}
