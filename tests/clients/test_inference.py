"""The Python client against the real server on both fronts."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from cuelight.client import Channel, InferenceClient, InvalidRequest, NotFound
from tests.compat.identity_models import write_repository
from tests.serve_process import FRONTS, running_server

VALUES: dict[str, NDArray[Any]] = {
    "bool": np.array([[True, False, True]]),
    **{
        f"{sign}int{bits}": np.array([[0, 1, 100]], f"{sign}int{bits}")
        for sign in ("u", "")
        for bits in (8, 16, 32, 64)
    },
    "fp16": np.array([[0.5, -1, 65504]], np.float16),
    "fp32": np.array([[0.5, -1, 3e38]], np.float32),
    "fp64": np.array([[0.5, -1, 1e300]], np.float64),
    "bytes": np.array([["a", "", "ü"]], dtype=object),
}


@pytest.fixture(scope="module", params=FRONTS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferenceClient]:
    folder = tmp_path_factory.mktemp("client")
    write_repository(folder / "models")
    with (
        running_server(folder / "models", folder / "log", front=request.param) as server,
        Channel(server.target) as channel,
    ):
        yield InferenceClient(channel)


@pytest.mark.parametrize("datatype", sorted(VALUES))
def test_every_datatype_comes_back_as_it_went(client: InferenceClient, datatype: str) -> None:
    y = client.infer(f"identity_{datatype}", {"x": VALUES[datatype]})["y"]

    expected = VALUES[datatype]
    if datatype == "bytes":
        assert y.tolist() == [[element.encode() for element in expected[0]]]
    else:
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)


def test_the_byte_order_and_the_layout_of_an_array_do_not_matter(client: InferenceClient) -> None:
    values = np.array([[1, 2, 3], [-4, 5.5, 6]], np.float32)

    for array in (values.astype(">f4"), np.asfortranarray(values), values[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(client.infer("identity_fp32", {"x": array})["y"], values)


def test_what_numpy_makes_an_array_of_is_taken(client: InferenceClient) -> None:
    given: Any = [[1, 2, -3]]
    words = np.array([["a", "", "ü"]])

    assert client.infer("identity_int64", {"x": given})["y"].tolist() == given
    assert client.infer("identity_bytes", {"x": words})["y"].tolist() == [[b"a", b"", "ü".encode()]]


def test_bf16_is_taken_as_ml_dtypes_has_it_and_comes_back_as_fp32(client: InferenceClient) -> None:
    y = client.infer("identity_bf16", {"x": np.array([[1.0, -2.5, 3e38]], ml_dtypes.bfloat16)})["y"]

    assert y.dtype == np.float32
    # 3e38 is 0x7f61b1e6; its upper half, rounded to the nearest, is 0x7f62.
    assert y.view(np.uint32).tolist() == [[0x3F800000, 0xC0200000, 0x7F620000]]


def test_a_stream_answers_in_order(client: InferenceClient) -> None:
    steps = ({"x": np.full((1, 4), value, np.float32)} for value in range(30))

    answers = [outputs["y"][0, 0] for outputs in client.stream("scale", steps)]

    assert answers == [2.0 * value for value in range(30)]


def test_a_bad_step_of_a_stream_is_raised_where_it_comes(client: InferenceClient) -> None:
    good, bad = {"x": np.ones((1, 4), np.float32)}, {"z": np.ones((1, 4), np.float32)}
    answers = client.stream("scale", iter([good, bad, good]))

    assert next(answers)["y"].tolist() == [[2.0] * 4]
    with pytest.raises(InvalidRequest, match='input "z"'):
        next(answers)


def test_the_server_tells_what_a_model_is(client: InferenceClient) -> None:
    assert client.is_ready()
    assert client.is_ready("scale")
    assert not client.is_ready("nothing")
    assert client.described("labelled", "labels") == ["tench", "goldfish", "shark", "ray"]
    with pytest.raises(InvalidRequest, match="does not tell its labels"):
        client.described("scale", "labels")


def test_errors_carry_the_servers_words_and_a_request_id(client: InferenceClient) -> None:
    with pytest.raises(InvalidRequest, match=r"expected FP32 \[-1,4\], got FP32 \[1,5\]") as wrong:
        client.infer("scale", {"x": np.ones((1, 5), np.float32)})
    assert wrong.value.request_id
    with pytest.raises(NotFound, match="nothing"):
        client.infer("nothing", {"x": np.ones((1, 4), np.float32)})


def test_an_array_that_has_no_datatype_is_refused_before_it_is_sent(client: InferenceClient) -> None:
    with pytest.raises(InvalidRequest, match='input "x": complex128 has no datatype on the wire'):
        client.infer("scale", {"x": np.ones((1, 4), np.complex128)})
