"""The C library called with the interpreter lock held: the same answers, any number of rows, clear failures."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.direct_session import DirectSession, open_direct_session
from cuelight.server.inference.signature import ModelSignature, TensorSpec

FP32, INT64 = DATATYPES["FP32"], DATATYPES["INT64"]
LOOKUP = ModelSignature({"index": TensorSpec("index", INT64, (-1, 1))}, {"row": TensorSpec("row", FP32, (-1, 1, 3))}, 8)


@pytest.fixture
def lookup_model(tmp_path: Path) -> Path:
    """A model that gives row `index` of a table of four rows, and fails on any other index."""
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["row"])],
        "lookup",
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["batch", 1])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", 1, 3])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def session(lookup_model: Path) -> DirectSession:
    opened = open_direct_session(lookup_model, LOOKUP)
    assert opened is not None, "the onnxruntime wheel for this platform has no C library"
    return opened


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_answers_are_those_of_the_ordinary_session(session: DirectSession, lookup_model: Path, rows: int) -> None:
    index = (np.arange(rows, dtype=np.int64) % 4).reshape(-1, 1)

    (expected,) = ort.InferenceSession(str(lookup_model)).run(None, {"index": index})

    np.testing.assert_array_equal(session.run({"index": index}, rows)["row"], expected)
    binding = session.bound(rows)
    binding.input_views["index"][:] = index.tobytes()
    session.run_bound(binding)
    assert [view.tobytes() for view in binding.output_views] == [expected.tobytes()]


def test_numbers_of_rows_do_not_disturb_each_other(session: DirectSession) -> None:
    one = session.run({"index": np.array([[1]])}, 1)["row"]
    two = session.run({"index": np.array([[2], [3]])}, 2)["row"]

    assert one.tolist() == [[[3, 4, 5]]]
    assert two.tolist() == [[[6, 7, 8]], [[9, 10, 11]]]


def test_a_failing_run_says_why_and_the_next_one_works(session: DirectSession) -> None:
    with pytest.raises(RuntimeError, match="out of data bounds"):
        session.run({"index": np.array([[99]])}, 1)

    assert session.run({"index": np.array([[0]])}, 1)["row"].tolist() == [[[0, 1, 2]]]


def test_a_file_that_is_no_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"this is no model")

    with pytest.raises(RuntimeError, match=r"model\.onnx"):
        open_direct_session(broken, LOOKUP)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(TensorSpec("index", INT64, (-1, -1)), id="a free size"),
        pytest.param(TensorSpec("index", DATATYPES["BYTES"], (-1, 1)), id="strings"),
        pytest.param(TensorSpec("index", DATATYPES["BF16"], (-1, 1)), id="a type NumPy lacks"),
        pytest.param(TensorSpec("index", INT64, (-1, 1), optional=True), id="an optional input"),
    ],
)
def test_what_it_cannot_bind_is_left_to_the_ordinary_session(lookup_model: Path, spec: TensorSpec) -> None:
    assert open_direct_session(lookup_model, ModelSignature({"index": spec}, LOOKUP.outputs, 8)) is None
