"""The `cuelight.*` keys that change how a model is served: padding, non-finite values, labels, batch size.

They come from the ONNX file's `metadata_props`, or from `parameters` of the configuration, which win. Every value is a
string, structured ones hold JSON.
"""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.signature import WILDCARD, Padding, TensorSpec

__all__ = [
    "EMBEDDING_KEY",
    "PREFIX",
    "declared_batch_size",
    "labels_from_file",
    "labels_from_metadata",
    "padding_of",
    "rejects_nonfinite",
]

PREFIX = "cuelight."
EMBEDDING_KEY = "cuelight.embedding"
"""Names the output that is a vector, and has no labels."""

_SCHEMA = "1"
_PADDING_KEYS = {"input", "axis", "length_input", "value", "outputs", "buckets"}

Specs = Mapping[str, TensorSpec]


def declared_batch_size(metadata: Mapping[str, str], source: str) -> int | None:
    """Return `cuelight.max_batch_size`, 0 for a model without batch axis, None where the file does not say.

    Raises: ModelLoadError when the schema is a later one or the value no whole number from 0 on.
    """
    schema = metadata.get("cuelight.schema", _SCHEMA)
    if schema != _SCHEMA:
        raise ModelLoadError(f'{source}: metadata "cuelight.schema": got "{schema}", expected "{_SCHEMA}"')
    text = metadata.get("cuelight.max_batch_size")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise ModelLoadError(f'{source}: metadata "cuelight.max_batch_size": got "{text}", expected 0 or more')
    return int(text)


def rejects_nonfinite(metadata: Mapping[str, str], source: str) -> bool:
    """Return whether infinities and NaN are refused as input (`cuelight.nonfinite`, default `accept`)."""
    text = metadata.get("cuelight.nonfinite", "accept")
    if text not in ("accept", "reject"):
        raise ModelLoadError(f'{source}: metadata "cuelight.nonfinite": got "{text}", expected "accept" or "reject"')
    return text == "reject"


def labels_from_metadata(metadata: Mapping[str, str], source: str) -> tuple[str, ...]:
    """Return `cuelight.labels`, a JSON list of strings; empty when there are none."""
    labels = _json(metadata, "cuelight.labels", source, [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ModelLoadError(f'{source}: metadata "cuelight.labels": expected a JSON list of strings')
    return tuple(labels)


def labels_from_file(folder: Path, filename: str, source: str) -> tuple[str, ...]:
    """Return the lines of a label file in the model's folder.

    Raises: ModelLoadError when the name leaves the folder or the file cannot be read.
    """
    # Judged by its text: a link inside the folder is the operator's own, a configuration may be a caller's.
    if Path(filename).is_absolute() or ".." in Path(filename).parts:
        raise ModelLoadError(f'{source}: label_filename "{filename}": lies outside the model\'s folder')
    try:
        return tuple((folder / filename).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise ModelLoadError(f'{source}: label_filename "{filename}": {error}') from error


def padding_of(metadata: Mapping[str, str], inputs: Specs, outputs: Specs, source: str) -> tuple[Padding, ...]:
    """Return `cuelight.padding`: `[{"input": "x", "axis": 1, "length_input": "lengths", "value": 0}]`.

    `outputs` in an entry, `[{"output": "y", "axis": 1}]`, names what grows with the padded axis; `buckets`,
    `[16, 64, 256]`, the sizes that requests of like length are put together by.

    Raises: ModelLoadError naming the entry, what came and what was expected.
    """
    entries = _json(metadata, "cuelight.padding", source, [])
    if not isinstance(entries, list):
        raise ModelLoadError(f'{source}: metadata "cuelight.padding": expected a JSON list')
    return tuple(
        _padding(entry, inputs, outputs, f'{source}: metadata "cuelight.padding[{index}]"')
        for index, entry in enumerate(entries)
    )


def _padding(entry: Any, inputs: Specs, outputs: Specs, where: str) -> Padding:
    if not isinstance(entry, dict) or not _PADDING_KEYS.issuperset(entry):
        raise ModelLoadError(f"{where}: expected an object with keys among {', '.join(sorted(_PADDING_KEYS))}")
    name, axis = _free_axis(entry, "input", inputs, where)
    length_input = entry.get("length_input")
    if length_input is not None:
        spec = inputs.get(length_input)
        if spec is None or spec.datatype.name != "INT64" or len(spec.shape) != 1:
            came = spec.describe() if spec else "no such input"
            raise ModelLoadError(f'{where}: length_input "{length_input}": expected INT64 [-1], got {came}')
    value = entry.get("value", 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelLoadError(f"{where}: value: got {value!r}, expected a number")
    grown = entry.get("outputs", [])
    if not isinstance(grown, list) or not all(isinstance(item, dict) for item in grown):
        raise ModelLoadError(f'{where}: outputs: expected a list of {{"output": NAME, "axis": NUMBER}}')
    cut = tuple(_free_axis(item, "output", outputs, where) for item in grown)
    return Padding(name, axis, length_input, float(value), cut, _buckets(entry.get("buckets", []), where))


def _buckets(sizes: Any, where: str) -> tuple[int, ...]:
    """Return the sizes that lengths are rounded up to when they look for company."""
    if not isinstance(sizes, list) or not all(type(size) is int and size > 0 for size in sizes):
        raise ModelLoadError(f"{where}: buckets: got {sizes!r}, expected a list of whole numbers from 1 on")
    if any(size >= following for size, following in pairwise(sizes)):
        raise ModelLoadError(f"{where}: buckets: got {sizes!r}, expected them ascending, each once")
    return tuple(sizes)


def _free_axis(entry: Mapping[str, Any], key: str, specs: Specs, where: str) -> tuple[str, int]:
    name, axis = entry.get(key), entry.get("axis")
    spec = specs.get(name) if isinstance(name, str) else None
    if spec is None:
        raise ModelLoadError(f"{where}: {key}: got {name!r}, expected one of {', '.join(specs)}")
    if type(axis) is not int or not 0 < axis < len(spec.shape) or spec.shape[axis] != WILDCARD:
        raise ModelLoadError(
            f'{where}: axis: got {axis!r}, expected an axis of free size of "{name}", {spec.describe()}'
        )
    return spec.name, axis


def _json(metadata: Mapping[str, str], key: str, source: str, default: Any) -> Any:
    text = metadata.get(key)
    if text is None:
        return default
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f'{source}: metadata "{key}": not JSON: {error}') from error
