"""From what the command line says of a user's model to the spec that is exported."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.model_names import check_model_name
from cuelight.exporters.own.factory import made_by
from cuelight.exporters.own.files import read_assets, read_labels, read_metadata
from cuelight.exporters.own.fit import load_weights
from cuelight.exporters.own.inputs import InputText, example_from, parse_axis, parse_input, parse_pair
from cuelight.exporters.own.locate import locate
from cuelight.exporters.own.measures import read_accuracy, read_calibration
from cuelight.exporters.own.pixels import behind_pixels, check_pixels
from cuelight.exporters.own.service_needs import service_notes
from cuelight.exporters.probe import outputs_of, returned_by
from cuelight.exporters.sizes import BATCH, describe, example_of, trace_sizes
from cuelight.exporters.spec import Axis, ExportSpec, StatePair

__all__ = ["OwnModel", "own_spec"]

T = TypeVar("T")
Example = Callable[..., dict[str, Tensor]]

_PARITY_BATCHES = (1, 2, 3, 8)
_PARITY_SEEDS = 2
_STEPS_WITH_STATE = 16
_EMBEDDING = "cuelight.embedding"
_MAY_LOSE = 0.01
"""Of an accuracy of the user's own: a hundredth, whatever it counts."""


@dataclass(frozen=True, slots=True)
class OwnModel:
    """What the user said: texts as they were typed, paths not looked at yet."""

    target: str
    name: str
    factory_args: tuple[str, ...] = ()
    checkpoint: Path | None = None
    checkpoint_key: str | None = None
    allow_pickle: bool = False
    inputs: tuple[str, ...] = ()
    pixels: tuple[str, str] | None = None
    example: str | None = None
    axes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    task: str = "custom"
    labels: Path | None = None
    assets: tuple[Path, ...] = ()
    metadata: tuple[str, ...] = ()
    opset: int = 18
    license: str = "not stated"
    source: str = ""
    atol: float = 1e-4
    rtol: float = 1e-4
    max_batch_size: int = 32
    calibration: str | None = None
    accuracy: str | None = None
    may_lose: float | None = None


def own_spec(own: OwnModel, say: Callable[[str], None]) -> ExportSpec:
    """Build the module, put its weights in, and return its spec; `say` is told what was found in the checkpoint.

    Raises: ExportError naming what was said wrongly, or what does not fit.
    """
    check_model_name(own.name)
    if own.max_batch_size < 1:
        raise ExportError(f"--max-batch-size: got {own.max_batch_size}, expected 1 or more")
    texts = [parse_input(text) for text in own.inputs]
    twice = [name for name, count in Counter(text.name for text in texts).items() if count > 1]
    if twice:
        raise ExportError(f"--input: {', '.join(twice)} given more than once")
    pairs = [parse_pair("--state", text) for text in own.state]
    axes = _axes(own, texts)
    example = _example(own, texts, frozenset(name for name, _ in pairs))
    labels = read_labels(own.labels)
    files = read_assets(own.assets)
    metadata = read_metadata(own.metadata) | ({"cuelight.labels": json.dumps(labels)} if labels else {})
    network = _with_weights(own, made_by(own.target, own.factory_args), say)
    module = behind_pixels(own.pixels, network)
    spec = ExportSpec(
        name=own.name,
        summary=f"{type(network).__name__} of {own.target}",
        build=_always(module),
        example=example,
        outputs=own.outputs,
        task=own.task,
        max_batch_size=own.max_batch_size,
        # Two rows at least, even for a model served one by one: an axis that never moves is no batch.
        parity_batches=tuple(size for size in _PARITY_BATCHES if size <= max(own.max_batch_size, 2)),
        golden_batches=(1, 2) if own.max_batch_size > 1 else (1,),
        atol=own.atol,
        rtol=own.rtol,
        source=own.source or own.target,
        license=own.license,
        parity_steps=_STEPS_WITH_STATE if pairs else 1,
        metadata=_always(metadata),
        assets=_always(files),
        opset=own.opset,
        axes=axes,
        parity_seeds=_PARITY_SEEDS,
    )
    spec = replace(spec, state=tuple(StatePair(i, o, _batch_axis(spec, i)) for i, o in pairs))
    inputs = example_of(spec, torch.Generator().manual_seed(0), trace_sizes(spec))
    check_pixels(own.pixels, inputs)
    spec = _with_outputs(spec, module, labels, metadata.get(_EMBEDDING, ""))
    for note in service_notes(own.task, inputs, spec.outputs, metadata, files):
        say(f"note: {note}")
    return _with_measures(own, spec, module, inputs)


def _with_measures(own: OwnModel, spec: ExportSpec, module: nn.Module, like: dict[str, Tensor]) -> ExportSpec:
    """Return the spec with what quantization is to be calibrated and measured by, where the user has said it."""
    if own.may_lose is not None and own.accuracy is None:
        raise ExportError("--may-lose goes with --accuracy: without one, closeness to the FP32 file counts")
    if own.accuracy is not None:
        may_lose = _MAY_LOSE if own.may_lose is None else own.may_lose
        spec = replace(spec, accuracy=read_accuracy(own.accuracy, may_lose))
    if own.calibration is not None:
        batches = read_calibration(own.calibration, like)
        returned_by(spec, module, {name: torch.from_numpy(array) for name, array in batches[0].items()})
        spec = replace(spec, calibration=_always(batches))
    return spec


def _with_weights(own: OwnModel, module: nn.Module, say: Callable[[str], None]) -> nn.Module:
    if own.checkpoint is None:
        say("no --checkpoint: the weights are those the factory gave")
    else:
        for note in load_weights(module, own.checkpoint, own.checkpoint_key, own.allow_pickle):
            say(f"{own.checkpoint.name}: {note}")
    return module.cpu().eval()


def _axes(own: OwnModel, texts: list[InputText]) -> tuple[Axis, ...]:
    axes = tuple(parse_axis(text) for text in own.axes)
    sized = {BATCH, *(axis.name for axis in axes)}
    for text in texts:
        for size in text.shape:
            if isinstance(size, str) and size not in sized:
                raise ExportError(
                    f'axis "{size}" of input "{text.name}" has no sizes to be tried with: add --axis {size}=1,7,50'
                )
    return axes


def _example(own: OwnModel, texts: list[InputText], state: frozenset[str]) -> Example:
    if own.example is not None and texts:
        raise ExportError("--example and --input exclude each other: the function gives every input")
    if own.example is not None:
        function: Any = locate(own.example)
        if not callable(function):
            raise ExportError(f"{own.example} is {type(function).__name__}, expected a function (generator, batch)")
        made: Example = function
        return made
    if not texts:
        raise ExportError(
            "no inputs: give --input NAME=DATATYPE[batch,...] for each argument, or --example MODULE:FUNCTION"
        )
    for name in sorted(state - {text.name for text in texts}):
        raise ExportError(f'state "{name}": no --input of this name gives its shape')
    return example_from(texts, state)


def _batch_axis(spec: ExportSpec, name: str) -> int:
    """Return which axis of a state input grows with the batch; 0 when none does, which the export then says."""
    one, another = (example_of(spec, torch.Generator(), trace_sizes(spec, batch)) for batch in (2, 3))
    if name not in one:
        raise ExportError(f'state "{name}": no such input; there are {", ".join(one)}')
    sizes = enumerate(zip(one[name].shape, another[name].shape, strict=False))
    return next((axis for axis, (first, second) in sizes if first != second), 0)


def _with_outputs(spec: ExportSpec, module: nn.Module, labels: list[str], embedding: str) -> ExportSpec:
    """Return the spec with its outputs named, by the user or as the module names them.

    Labels belong to the first output that is neither state nor the `embedding`.
    """
    inputs = example_of(spec, torch.Generator().manual_seed(0), trace_sizes(spec))
    returned = returned_by(spec, module, inputs)
    if not spec.outputs and isinstance(returned, Mapping):
        spec = replace(spec, outputs=tuple(str(key) for key in returned))
    elif not spec.outputs and isinstance(returned, Tensor):
        spec = replace(spec, outputs=("output",))
    tensors = outputs_of(spec, returned)
    for pair in spec.state:
        if pair.output not in tensors:
            raise ExportError(
                f'--state {pair.input}={pair.output}: no output "{pair.output}"; there are {", ".join(tensors)}'
            )
    without_labels = {embedding, *(pair.output for pair in spec.state)}
    scores = next((name for name in tensors if name not in without_labels), None)
    if labels and scores and tensors[scores].shape[-1:] != (len(labels),):
        raise ExportError(
            f'{len(labels)} labels, but output "{scores}" is {describe(tensors[scores])}: expected one for each of '
            "its last axis"
        )
    return spec


def _always(value: T) -> Callable[[Path], T]:
    return lambda cache_dir: value
