"""What a converted file has lost: by the model's own measure, or by how close it is to the FP32 file.

A model that has no measure of its own is run with both files on the same inputs, calibration or example; one with state
step by step, each file on its own state. Closeness is 1 less the largest relative root mean square error of an output.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from cuelight.exporters.sizes import example_of, trace_sizes
from cuelight.exporters.spec import Accuracy, Arrays, ExportSpec, Run
from cuelight.exporters.threads import open_on_one_thread

__all__ = ["closeness", "closeness_to", "inputs_of", "run_of"]

_MAY_LOSE = {"int8-dynamic": 0.05, "int8-static": 0.05, "fp16": 0.01, "bf16": 0.02}
_BATCH = 4
_CASES = 16


def run_of(model: Path) -> Run:
    """Return what runs a file on one thread."""
    session: ort.InferenceSession = open_on_one_thread(model)
    taken = {node.name for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]

    def run(inputs: Arrays) -> Arrays:
        outputs = session.run(names, {name: array for name, array in inputs.items() if name in taken})
        return dict(zip(names, outputs, strict=True))

    return run


def inputs_of(spec: ExportSpec, calibration: Sequence[Arrays], seed: int) -> list[Arrays]:
    """Return what to compare files on: some of the calibration inputs, or examples, a step after the other."""
    if calibration and not spec.state:
        return list(calibration[:: max(1, len(calibration) // _CASES)])
    generator = torch.Generator().manual_seed(seed)
    sizes = trace_sizes(spec, min(_BATCH, spec.max_batch_size))
    steps = spec.parity_steps if spec.state else _CASES
    return [{name: tensor.numpy() for name, tensor in example_of(spec, generator, sizes).items()} for _ in range(steps)]


def closeness_to(fp32: Run, spec: ExportSpec, method: str, inputs: Sequence[Arrays]) -> Accuracy:
    """Return the measure for models that have none."""
    what = "calibration inputs" if spec.calibration and not spec.state else "examples"
    wanted = _outputs(fp32, spec, inputs)

    def measure(run: Run, cache_dir: Path) -> float:
        return closeness(_outputs(run, spec, inputs), wanted)

    return Accuracy(f"closeness to the FP32 file on {what}", measure, _MAY_LOSE[method])


def closeness(got: dict[str, NDArray[np.float64]], wanted: dict[str, NDArray[np.float64]]) -> float:
    """Return 1 less the largest relative root mean square error of an output; a NaN is infinitely far off."""
    errors = []
    for name, want in wanted.items():
        error = np.sqrt(np.mean((got[name] - want) ** 2))
        size = np.sqrt(np.mean(want**2))
        errors.append(0.0 if error == 0 else error / size if size > 0 and np.isfinite(error) else np.inf)
    return 1 - float(max(errors, default=0.0))


def _outputs(run: Run, spec: ExportSpec, inputs: Sequence[Arrays]) -> dict[str, NDArray[np.float64]]:
    """Return each output over all inputs, flat."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for outputs in _steps(run, spec, inputs):
        for name, array in outputs.items():
            found.setdefault(name, []).append(array.astype(np.float64).ravel())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _steps(run: Callable[[Arrays], Arrays], spec: ExportSpec, inputs: Sequence[Arrays]) -> Iterator[Arrays]:
    state: Arrays = {}
    for given in inputs:
        outputs = run({**given, **state})
        state = {pair.input: outputs[pair.output] for pair in spec.state}
        yield outputs
