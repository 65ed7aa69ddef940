"""What `--quantize` is told of a user's own model: inputs to find ranges with, and a measure of what may be lost."""

import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.locate import locate
from cuelight.exporters.sizes import describe
from cuelight.exporters.spec import Accuracy, Arrays, Run
from cuelight.exporters.user_code import line_of

__all__ = ["read_accuracy", "read_calibration"]

_ROWS_EXPECTED = "expected an array for each input, a row for each example"


def read_calibration(text: str, like: Mapping[str, Tensor]) -> list[Arrays]:
    """Return batches of inputs: the rows of a file of `numpy.savez`, or what `module:function` returns, as it comes.

    `like` are inputs of the model, which every batch has to resemble in names, datatypes and number of axes.

    Raises: ExportError naming the first batch that is not like them, or what cannot be read or called.
    """
    batches = _rows(text, like) if text.endswith(".npz") else _returned(text)
    if not batches:
        raise ExportError(f"--calibration {text}: holds no inputs")
    for index, batch in enumerate(batches):
        _check(f"--calibration {text}: batch {index}", batch, like)
    return batches


def read_accuracy(text: str, may_lose: float) -> Accuracy:
    """Return the measure that `module:function` is: it takes what runs a file, and returns a number, more is better.

    Raises: ExportError when there is no such function, or, while measuring, when it fails or returns something else.
    """
    function = _function("--accuracy", text)

    def measure(run: Run, cache_dir: Path) -> float:
        value = _called("--accuracy", text, lambda: function(run))
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ExportError(f"--accuracy {text} returned {type(value).__name__}, expected a number") from None

    return Accuracy(text.rpartition(":")[2], measure, may_lose)


def _rows(text: str, like: Mapping[str, Tensor]) -> list[Arrays]:
    try:
        # Opened here: numpy leaves a file open that turns out to be none of its own.
        with Path(text).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(f"--calibration {text}: {error}") from error
    _check(f"--calibration {text}", arrays, like)
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ExportError(f"--calibration {text}: {_ROWS_EXPECTED}, got {counts}")
    return [
        {name: array[row : row + 1] for name, array in arrays.items()} for row in range(next(iter(counts.values())))
    ]


def _returned(text: str) -> list[Arrays]:
    function = _function("--calibration", text)
    returned = _called("--calibration", text, lambda: _listed(function()))
    if not all(isinstance(batch, Mapping) for batch in returned):
        kinds = ", ".join(sorted({type(batch).__name__ for batch in returned}))
        raise ExportError(f"--calibration {text} returned {kinds}, expected batches: inputs by name")
    return [{str(name): _array(value) for name, value in batch.items()} for batch in returned]


def _listed(returned: Any) -> list[Any]:
    return list(returned) if isinstance(returned, Iterable) and not isinstance(returned, Mapping) else [returned]


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _function(option: str, text: str) -> Callable[..., Any]:
    found: Any = locate(text)
    if not callable(found):
        raise ExportError(f"{option} {text} is {type(found).__name__}, expected a function")
    function: Callable[..., Any] = found
    return function


def _called(option: str, text: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        # The user's own code: whatever it raises, it has given nothing.
        where = line_of(error)
        said = f"{option} {text} failed: {type(error).__name__}: {error}"
        raise ExportError(f"{said}\n  at {where}" if where else said) from error


def _check(what: str, batch: Arrays, like: Mapping[str, Tensor]) -> None:
    if batch.keys() != like.keys():
        raise ExportError(f"{what} has {', '.join(batch) or 'nothing'}, expected the inputs {', '.join(like)}")
    for name, wanted in like.items():
        array = batch[name]
        expected = torch.empty(0, dtype=wanted.dtype).numpy().dtype
        if array.dtype != expected or array.ndim != wanted.ndim or not array.size:
            raise ExportError(
                f'{what}: "{name}" is {array.dtype} {list(array.shape)}, expected {expected} like {describe(wanted)}'
            )
