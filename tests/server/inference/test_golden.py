"""Golden vectors: what agrees, what does not, and files that are broken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.golden import Case, GoldenVectors, read_golden, replay
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.signature import ModelSignature, TensorSpec

Arrays = dict[str, NDArray[Any]]


def signature(datatype: str = "FP32") -> ModelSignature:
    spec = (-1, 2)
    return ModelSignature(
        {"x": TensorSpec("x", DATATYPES[datatype], spec)}, {"y": TensorSpec("y", DATATYPES[datatype], spec)}, 8
    )


def vectors(x: Any, y: Any, atol: float = 0.0, rtol: float = 0.0) -> GoldenVectors:
    return GoldenVectors((Case("7", {"x": x}, {"y": y}),), atol, rtol)


def error_of(golden: GoldenVectors, answer: Any, datatype: str = "FP32") -> str:
    with pytest.raises(ModelLoadError) as raised:
        replay(golden, lambda feeds: [answer], signature(datatype), 'model "m" version 3')
    return str(raised.value)


def test_a_file_written_by_numpy_is_read_case_by_case(tmp_path: Path) -> None:
    x = np.zeros((1, 2), np.float32)
    path = tmp_path / "golden.npz"
    np.savez(path, **{"0/inputs/a/b": x, "0/outputs/y": x, "1/outputs/y": x, "atol": 1e-4, "rtol": 1e-3})  # type: ignore[arg-type]

    golden = read_golden(path)

    assert golden is not None
    assert [case.name for case in golden.cases] == ["0", "1"]
    assert list(golden.cases[0].inputs) == ["a/b"]
    assert (golden.atol, golden.rtol) == (1e-4, 1e-3)


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert read_golden(tmp_path / "golden.npz") is None


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"0/outputs/y": 1, "rtol": 0}, '"atol": got nothing, expected 0 or more'),
        ({"0/outputs/y": 1, "atol": -1, "rtol": 0}, '"atol": got -1.0'),
        ({"0/outputs/y": 1, "atol": np.nan, "rtol": 0}, '"atol": got nan'),
        ({"atol": 0, "rtol": 0, "0/inputs/x": 1}, "holds no case"),
        ({"atol": 0, "rtol": 0, "0/results/y": 1}, 'array "0/results/y": expected'),
        ({"0/outputs/y": np.array([object()], dtype=object), "atol": 0, "rtol": 0}, "cannot be read: "),
    ],
)
def test_a_file_of_the_wrong_content_is_named(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, **arrays)

    with pytest.raises(ModelLoadError) as raised:
        read_golden(path)

    assert str(raised.value).startswith(f"{path}: ")
    assert says in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"no archive at all"])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(content)

    with pytest.raises(ModelLoadError) as raised:
        read_golden(path)

    assert str(raised.value).startswith(f"{path}: ")


def test_a_lone_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "golden.npz").open("wb") as file:
        np.save(file, np.zeros(3))

    with pytest.raises(ModelLoadError, match=r"expected an \.npz archive"):
        read_golden(tmp_path / "golden.npz")


@pytest.mark.parametrize(
    ("want", "got", "atol", "rtol", "agrees"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, 0.0, True),
        ([1.0, 2.0], [1.25, 2.0], 0.25, 0.0, True),
        ([1.0, 2.0], [1.5, 2.0], 0.25, 0.0, False),
        ([4.0, -4.0], [5.0, -5.0], 0.0, 0.25, True),
        ([4.0, -4.0], [5.0, -5.5], 0.0, 0.25, False),
        ([4.0, -4.0], [5.0, -5.5], 0.5, 0.25, True),
        ([np.inf, np.nan], [np.inf, np.nan], 0.0, 0.0, True),
        ([np.inf, 0.0], [-np.inf, 0.0], 1.0, 1.0, False),
        ([0.0, 0.0], [np.nan, 0.0], 1.0, 1.0, False),
        ([0.0, 0.0], [np.inf, 0.0], 1.0, 1.0, False),
    ],
)
def test_agreement_is_atol_plus_rtol_times_what_is_wanted(
    want: list[float], got: list[float], atol: float, rtol: float, agrees: bool
) -> None:
    golden = vectors(np.zeros((1, 2), np.float32), np.array([want], np.float32), atol, rtol)

    if agrees:
        replay(golden, lambda feeds: [np.array([got], np.float32)], signature(), "m")
    else:
        assert "disagree" in error_of(golden, np.array([got], np.float32))


def test_what_disagrees_is_named_with_its_error_and_what_is_allowed() -> None:
    golden = vectors(np.zeros((1, 2), np.float32), np.array([[1.0, 2.0]], np.float32), 0.125, 0.0)

    message = error_of(golden, np.array([[1.25, 2.5]], np.float32))

    assert message == (
        'model "m" version 3: golden case "7": output "y": off by 0.5 at element 1 (got 2.5, expected 2), '
        "allowed 0.125; 2 of 2 elements disagree"
    )


@pytest.mark.parametrize(
    ("golden", "says"),
    [
        (vectors(np.zeros((1, 2)), np.zeros((1, 2))), 'input "x": expected FP32 [-1,2], got float64'),
        (vectors(np.zeros((1, 2), np.float32), np.zeros((1, 3))), 'output "y": expected shape [1, 3], got [1, 2]'),
        (GoldenVectors((Case("0", {}, {}),), 0, 0), 'input "x": missing; the model needs FP32 [-1,2]'),
        (GoldenVectors((Case("0", {"q": np.zeros(1)}, {}),), 0, 0), 'input "q": not in the model, which has x'),
        (
            GoldenVectors((Case("0", {"x": np.zeros((1, 2), np.float32)}, {"z": np.zeros(1)}),), 0, 0),
            'output "z": not in the model, which has y',
        ),
    ],
)
def test_vectors_that_do_not_fit_the_model_are_named(golden: GoldenVectors, says: str) -> None:
    assert says in error_of(golden, np.zeros((1, 2), np.float32))


def test_a_model_that_fails_on_a_case_is_named() -> None:
    def run(feeds: Arrays) -> list[NDArray[Any]]:
        raise RuntimeError("no such operator")

    golden = vectors(np.zeros((1, 2), np.float32), np.zeros((1, 2)))
    with pytest.raises(ModelLoadError, match='golden case "7": the model failed to run it: no such operator'):
        replay(golden, run, signature(), "m")


def test_strings_and_truths_must_be_equal() -> None:
    words = np.array([["a", "bc"]])
    objects = np.array([[b"a", b"bc"]], dtype=object)

    replay(vectors(words, words), lambda feeds: [feeds["x"]], signature("BYTES"), "m")

    assert "differs" in error_of(vectors(words, np.array([["a", "b"]])), objects, "BYTES")
    truths = np.array([[True, False]])
    assert "differs" in error_of(vectors(truths, truths), ~truths, "BOOL")


def test_bf16_is_compared_by_value_and_not_by_bits() -> None:
    one, just_above = np.array([[0x3F80, 0]], np.uint16), np.array([[0x3F81, 0]], np.uint16)

    replay(vectors(one, one, atol=2**-7), lambda feeds: [just_above], signature("BF16"), "m")

    assert "off by 0.00781" in error_of(vectors(one, one, atol=2**-8), just_above, "BF16")
