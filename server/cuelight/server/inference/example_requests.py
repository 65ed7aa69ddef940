"""Requests that a version is warmed up with and measured on: what the model is known to take, or zeros."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.signature import WILDCARD, ModelSignature

__all__ = ["at_usual_size", "example_inputs", "one_row", "request_of_rows"]

Arrays = dict[str, NDArray[Any]]

_WILDCARD_WARM_UP_SIZE = 16
_USUAL_SIZE = 32
"""Of a free axis, such as the tokens of a sentence: golden vectors have the smallest sizes, which say nothing of it."""


def example_inputs(signature: ModelSignature, rows: int) -> Arrays:
    """Return zeros of the model's input shapes, with 16 for every free size: something to warm up on."""
    return {
        name: np.zeros(
            tuple(
                rows if axis == 0 and signature.batches else (_WILDCARD_WARM_UP_SIZE if size == WILDCARD else size)
                for axis, size in enumerate(spec.shape)
            ),
            spec.datatype.dtype,
        )
        if spec.datatype.name != "BYTES"
        else np.full(tuple(1 if size == WILDCARD else size for size in spec.shape), "", dtype=object)
        for name, spec in signature.inputs.items()
        if not spec.optional
    }


def one_row(signature: ModelSignature, example: Arrays | None = None) -> Arrays:
    """Return a request of one row: the example's first, or zeros."""
    return request_of_rows(signature, 1, example)


def request_of_rows(signature: ModelSignature, rows: int, example: Arrays | None = None) -> Arrays:
    """Return a request of so many rows, each the example's first, or zeros."""
    if not example:
        return example_inputs(signature, rows)
    return (
        {name: np.repeat(array[:1], rows, axis=0) for name, array in example.items()} if signature.batches else example
    )


def at_usual_size(signature: ModelSignature, request: Arrays) -> Arrays:
    """Return the request with every free axis but the batch repeated up to a size of 32; larger ones stay as they are.

    Not every model takes it: sizes may have to do with each other.
    """
    first = 1 if signature.batches else 0
    usual: Arrays = {}
    for name, array in request.items():
        for axis, size in enumerate(signature.inputs[name].shape):
            if axis >= first and size == WILDCARD and 0 < array.shape[axis] < _USUAL_SIZE:
                array = np.take(array, np.arange(_USUAL_SIZE) % array.shape[axis], axis)  # noqa: PLW2901
        usual[name] = array
    return usual
