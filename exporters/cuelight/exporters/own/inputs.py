"""Example inputs from words: `x=FP32[batch,time,80]`, `ids=INT64[batch,time]:0..29999`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cuelight.exporters.errors import ExportError
from cuelight.exporters.sizes import BATCH
from cuelight.exporters.spec import Axis

__all__ = ["InputText", "example_from", "parse_axis", "parse_input", "parse_pair"]

_DTYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}
_NUMBER = r"-?\d+(?:\.\d+)?"
_INPUT = re.compile(rf"([A-Za-z_][A-Za-z0-9_.]*)=([A-Za-z0-9]+)\[([^\]]*)\](?::({_NUMBER})\.\.({_NUMBER}))?")
_EXPECTED = "expected NAME=DATATYPE[batch,...], such as x=FP32[batch,time,80] or ids=INT64[batch,time]:0..29999"


@dataclass(frozen=True, slots=True)
class InputText:
    """One input: a size is a number or an axis's name. Values are drawn from `low` to `high`, both included.

    Without a range: FP32 and its like from the normal distribution, UINT8 any, other integers and booleans 0 or 1.
    """

    name: str
    datatype: str
    shape: tuple[int | str, ...]
    low: float | None = None
    high: float | None = None

    @property
    def batch_axis(self) -> int:
        """On which axis the batch is."""
        return self.shape.index(BATCH)

    def draw(self, generator: torch.Generator, sizes: dict[str, int]) -> Tensor:
        """Return random values of these sizes."""
        shape = tuple(size if isinstance(size, int) else sizes[size] for size in self.shape)
        dtype = _DTYPES[self.datatype]
        if dtype.is_floating_point:
            if self.low is None or self.high is None:
                return torch.randn(shape, generator=generator).to(dtype)
            return (torch.rand(shape, generator=generator) * (self.high - self.low) + self.low).to(dtype)
        highest = 255 if dtype == torch.uint8 else 1
        low, high = int(self.low or 0), int(highest if self.high is None else self.high)
        return torch.randint(low, high + 1, shape, generator=generator).to(dtype)

    def zeros(self, sizes: dict[str, int]) -> Tensor:
        """Return zeros of these sizes, as a state begins."""
        shape = tuple(size if isinstance(size, int) else sizes[size] for size in self.shape)
        return torch.zeros(shape, dtype=_DTYPES[self.datatype])


def parse_input(text: str) -> InputText:
    """Read one input. Raises: ExportError saying what is wrong with the text and what was expected."""
    found = _INPUT.fullmatch(text.replace(" ", ""))
    if not found:
        raise ExportError(f'--input "{text}": {_EXPECTED}')
    name, typed, inside, low, high = found.groups()
    datatype = re.sub("^(FLOAT|FP?)(?=16|32|64)", "FP", typed.upper())
    if datatype not in _DTYPES:
        raise ExportError(f'--input "{text}": no datatype {typed}; there are {", ".join(_DTYPES)}')
    shape = tuple(_size(size, text) for size in inside.split(","))
    if shape.count(BATCH) != 1:
        raise ExportError(
            f'--input "{text}": one axis has to be "{BATCH}", the first one unless it is state; {_EXPECTED}'
        )
    if low is not None and float(low) > float(high):
        raise ExportError(f'--input "{text}": the range {low}..{high} is empty')
    return InputText(name, datatype, shape, None if low is None else float(low), None if high is None else float(high))


def parse_axis(text: str) -> Axis:
    """Read `time=1,7,50`. Raises: ExportError saying what is wrong with the text."""
    name, _, sizes = text.partition("=")
    if not name.isidentifier() or not re.fullmatch(r"\d+(,\d+)*", sizes):
        raise ExportError(f'--axis "{text}": expected NAME=SIZE,SIZE,..., such as time=1,7,50')
    if name == BATCH:
        raise ExportError(f'--axis "{text}": the sizes of the batch are chosen by --max-batch-size')
    try:
        return Axis(name, tuple(int(size) for size in sizes.split(",")))
    except ValueError as error:
        raise ExportError(f'--axis "{text}": {error}') from error


def parse_pair(option: str, text: str) -> tuple[str, str]:
    """Read `h=h_next`. Raises: ExportError saying what is wrong with the text."""
    left, _, right = text.partition("=")
    if not left or not right:
        raise ExportError(f'{option} "{text}": expected two names, such as h=h_next')
    return left, right


def example_from(inputs: Sequence[InputText], zeros: frozenset[str]) -> Callable[..., dict[str, Tensor]]:
    """Return an example function for a spec; the inputs named in `zeros` are state, and begin as zeros."""

    def example(generator: torch.Generator, batch: int, **axes: int) -> dict[str, Tensor]:
        sizes = {BATCH: batch, **axes}
        return {i.name: i.zeros(sizes) if i.name in zeros else i.draw(generator, sizes) for i in inputs}

    return example


def _size(text: str, whole: str) -> int | str:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text.isidentifier():
        return text
    raise ExportError(f'--input "{whole}": "{text}" is neither a size from 1 on nor the name of an axis')
