"""How requests become one batch and the batch's outputs become answers: pure array work, run on the engine's thread."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.signature import ModelSignature

__all__ = ["group_of", "join", "split"]

Arrays = dict[str, NDArray[Any]]


def group_of(inputs: Arrays, signature: ModelSignature) -> Hashable:
    """Return what requests must agree on to share a batch: the present inputs and their sizes beside batch and padding.

    A signature whose every size is fixed and given has one group only.
    """
    if signature.fixed and len(inputs) == len(signature.inputs):
        return None
    padded = {(padding.input, padding.axis): padding for padding in signature.padding}
    return tuple(
        (
            name,
            tuple(
                padded[name, axis].bucket(size) if (name, axis) in padded else size
                for axis, size in enumerate(array.shape)
                if axis
            ),
        )
        for name, array in inputs.items()
    )


def join(requests: Sequence[Arrays], signature: ModelSignature) -> Arrays:
    """Return the batch: the requests' rows along axis 0, padded axes at their longest, true lengths filled in.

    Each length input is (batch,) INT64 and holds the unpadded size of every row.
    """
    padding = {pad.input: pad for pad in signature.padding}
    batch: Arrays = {}
    for name in requests[0]:
        arrays = [request[name] for request in requests]
        pad = padding.get(name)
        if pad is not None:
            longest = max(array.shape[pad.axis] for array in arrays)
            if pad.length_input is not None and pad.length_input not in requests[0]:
                batch[pad.length_input] = np.concatenate(
                    [np.full(array.shape[0], array.shape[pad.axis], np.int64) for array in arrays]
                )
            batch[name] = _padded(arrays, pad.axis, longest, pad.value)
        else:
            batch[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return batch


def split(outputs: Arrays, requests: Sequence[Arrays], rows: Sequence[int], signature: ModelSignature) -> list[Arrays]:
    """Return each request's outputs: views of its rows, cut back to its own length where the batch was padded."""
    if len(rows) == 1:
        return [outputs]
    answers: list[Arrays] = []
    start = 0
    for request, count in zip(requests, rows, strict=True):
        answer = {name: array[start : start + count] for name, array in outputs.items()}
        for pad in signature.padding:
            for name, axis in pad.outputs:
                cut = (slice(None),) * axis + (slice(request[pad.input].shape[pad.axis]),)
                answer[name] = answer[name][cut]
        answers.append(answer)
        start += count
    return answers


def _padded(arrays: Sequence[NDArray[Any]], axis: int, size: int, value: float) -> NDArray[Any]:
    """Return the rows of all arrays, an axis of each filled up to `size`; written once, for np.pad takes far longer."""
    if all(array.shape[axis] == size for array in arrays):
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    shape = list(arrays[0].shape)
    shape[0], shape[axis] = sum(len(array) for array in arrays), size
    joined = np.full(shape, value, arrays[0].dtype)
    start = 0
    for array in arrays:
        rows = joined[start : start + len(array)]
        rows[(slice(None),) * axis + (slice(array.shape[axis]),)] = array
        start += len(array)
    return joined
