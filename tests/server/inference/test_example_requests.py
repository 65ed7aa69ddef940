"""The sizes of requests that versions are measured on."""

import numpy as np
import pytest

from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.example_requests import at_usual_size, one_row, request_of_rows
from cuelight.server.inference.signature import ModelSignature, TensorSpec


def signature(*shape: int, max_batch_size: int = 8) -> ModelSignature:
    spec = TensorSpec("ids", DATATYPES["INT64"], shape)
    return ModelSignature({"ids": spec}, {"y": TensorSpec("y", DATATYPES["FP32"], (-1, -1))}, max_batch_size)


@pytest.mark.parametrize(
    ("shape", "came", "usual"),
    [
        ((-1, -1), (1, 5), (1, 32)),
        ((-1, -1, 7), (2, 5, 7), (2, 32, 7)),
        ((-1, 5), (1, 5), (1, 5)),
        ((-1, -1), (1, 40), (1, 40)),
        ((-1, -1), (1, 0), (1, 0)),
        ((-1, -1, -1), (1, 31, 33), (1, 32, 33)),
    ],
)
def test_free_axes_grow_to_a_size_as_in_practice(
    shape: tuple[int, ...], came: tuple[int, ...], usual: tuple[int, ...]
) -> None:
    grown = at_usual_size(signature(*shape), {"ids": np.zeros(came, np.int64)})

    assert grown["ids"].shape == usual


def test_what_it_is_filled_with_is_what_came() -> None:
    grown = at_usual_size(signature(-1, -1), {"ids": np.array([[3, 1, 4]])})

    assert grown["ids"].tolist() == [[3, 1, 4] * 10 + [3, 1]]


def test_a_model_without_a_batch_has_its_first_axis_grown() -> None:
    assert at_usual_size(signature(-1, max_batch_size=0), {"ids": np.arange(2)})["ids"].shape == (32,)


def test_rows_are_the_first_one_again() -> None:
    example = {"ids": np.array([[1, 2], [3, 4]])}

    assert request_of_rows(signature(-1, -1), 3, example)["ids"].tolist() == [[1, 2]] * 3
    assert one_row(signature(-1, -1), example)["ids"].tolist() == [[1, 2]]
    assert one_row(signature(-1, -1))["ids"].tolist() == [[0] * 16]
