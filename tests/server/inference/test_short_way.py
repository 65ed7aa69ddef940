"""The short way: the same answers as the ordinary one, for exactly the bodies whose meaning it knows."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.inference.servicer import InferenceServicer
from cuelight.server.inference.shared_memory import SharedMemoryRegions
from cuelight.server.inference.short_way import ShortWay
from tests.scale_models import scale_model
from tests.server.inference.loaded import Versions, load, sequence_steps
from tests.server.inference.test_servicer import Context

Parts = tuple[InferenceServicer, ShortWay, ShortWay, Versions]


class Tracing:
    """The tracer's switch."""

    def __init__(self) -> None:
        self.enabled = False


def add_model() -> onnx.ModelProto:
    """Return a model of two inputs of different widths and two outputs."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["b", "axis"], ["total"], keepdims=1),
            helper.make_node("Add", ["a", "total"], ["sum"]),
            helper.make_node("Identity", ["b"], ["same"]),
        ],
        "add",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 200]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, ["batch", 2]),
        ],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch", 200]),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, ["batch", 2]),
        ],
        [onnx.numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(folder: Path, scenario: Callable[[Parts, Tracing], Any]) -> None:
    async def main() -> None:
        versions = Versions(
            load(folder, "scale", scale_model(2.0), inline=True),
            load(folder, "add", add_model(), inline=True),
            load(folder, "queued", scale_model(3.0), inline=False),
        )
        tracing: Any = Tracing()
        regions = SharedMemoryRegions()
        servicer = InferenceServicer(versions, regions, tracing, sequence_steps(regions))
        parts = (servicer, servicer.short_way(streamed=False), servicer.short_way(streamed=True), versions)
        await scenario(parts, tracing)
        await versions.stop()

    asyncio.run(main())


def scale(value: float = 1.0, rows: int = 1, request_id: str = "", model: str = "scale") -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    request.raw_input_contents.append(np.full((rows, 4), value, np.float32).tobytes())
    return request


def add(value: float = 1.0, rows: int = 1, request_id: str = "", order: str = "ab") -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="add", model_version="1", id=request_id)
    for name in order:
        width = {"a": 200, "b": 2}[name]
        request.inputs.add(name=name, datatype="FP32", shape=[rows, width])
        request.raw_input_contents.append(np.full((rows, width), value, np.float32).tobytes())
    return request


def learned(way: ShortWay, *requests: pb.ModelInferRequest) -> None:
    for request in requests:
        body = request.SerializeToString()
        assert way.answer(body) is None
        assert way.learn(body, request)


@pytest.mark.parametrize("request_id", ["", "7", "x" * 127])
@pytest.mark.parametrize("make", [scale, add])
@pytest.mark.parametrize("rows", [1, 3])
def test_answers_are_those_of_the_ordinary_way(
    tmp_path: Path, make: Callable[..., pb.ModelInferRequest], rows: int, request_id: str
) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        servicer, way, streamed, _ = parts
        learned(way, make(0.0, rows))
        learned(streamed, make(0.0, rows))
        request = make(4.0, rows, request_id)
        expected = await servicer.ModelInfer(request, Context())

        answer = way.answer(request.SerializeToString())
        on_stream = streamed.answer(request.SerializeToString())

        assert answer is not None
        assert pb.ModelInferResponse.FromString(answer) == expected
        assert on_stream is not None
        assert pb.ModelStreamInferResponse.FromString(on_stream).infer_response == expected

    run(tmp_path, scenario)


def test_figures_count_what_took_the_short_way(tmp_path: Path) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        _, way, _, versions = parts
        learned(way, scale(rows=2))

        for _ in range(3):
            way.answer(scale(rows=2).SerializeToString())

        statistics = versions.get("scale").statistics
        assert (statistics.inference_count, statistics.execution_count, statistics.success.count) == (6, 3, 3)

    run(tmp_path, scenario)


def changed(change: Callable[[pb.ModelInferRequest], Any]) -> pb.ModelInferRequest:
    request = scale()
    change(request)
    return request


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(scale(rows=2), id="another shape"),
        pytest.param(scale(request_id="x" * 128), id="an id whose length takes two bytes"),
        pytest.param(scale(request_id="ü"), id="an id beyond ASCII"),
        pytest.param(changed(lambda r: r.outputs.add(name="y")), id="chosen outputs"),
        pytest.param(changed(lambda r: setattr(r.parameters["priority"], "int64_param", 1)), id="a parameter"),
        pytest.param(changed(lambda r: r.raw_input_contents.append(b"more")), id="too many bytes"),
        pytest.param(changed(lambda r: r.raw_input_contents.pop()), id="no bytes"),
        pytest.param(changed(lambda r: setattr(r, "model_version", "1")), id="another version's name"),
        pytest.param(changed(lambda r: setattr(r.inputs[0], "name", "z")), id="another input"),
        pytest.param(pb.ModelInferRequest(), id="nothing"),
    ],
)  # fmt: skip
def test_what_was_not_learned_takes_the_ordinary_way(tmp_path: Path, other: pb.ModelInferRequest) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        _, way, _, _ = parts
        learned(way, scale())

        assert way.answer(other.SerializeToString()) is None

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(scale(model="queued"), id="a model that queues"),
        pytest.param(scale(model="nothing"), id="no such model"),
        pytest.param(scale(rows=9), id="more rows than the model takes"),
        pytest.param(changed(lambda r: r.outputs.add(name="y")), id="chosen outputs"),
        pytest.param(changed(lambda r: setattr(r.inputs[0], "datatype", "INT64")), id="a wrong datatype"),
        pytest.param(changed(lambda r: r.raw_input_contents.pop()), id="no raw bytes"),
    ],
)
def test_only_plain_and_right_requests_are_learned(tmp_path: Path, request_: pb.ModelInferRequest) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        _, way, _, _ = parts

        assert not way.learn(request_.SerializeToString(), request_)
        assert way.answer(request_.SerializeToString()) is None

    run(tmp_path, scenario)


def test_a_body_that_is_not_written_in_the_usual_order_is_not_learned(tmp_path: Path) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        _, way, _, _ = parts
        whole = scale()
        named, rest = pb.ModelInferRequest(model_name="scale"), scale()
        rest.ClearField("model_name")
        shuffled = rest.SerializeToString() + named.SerializeToString()
        assert pb.ModelInferRequest.FromString(shuffled) == whole

        assert not way.learn(shuffled, whole)

    run(tmp_path, scenario)


def test_tracing_sees_every_request(tmp_path: Path) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        _, way, _, _ = parts
        learned(way, scale())
        tracing.enabled = True

        assert way.answer(scale().SerializeToString()) is None

    run(tmp_path, scenario)


def test_a_version_that_no_longer_serves_is_forgotten(tmp_path: Path) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        _, way, _, versions = parts
        learned(way, scale())
        await versions.remove("scale").stop()
        assert way.answer(scale().SerializeToString()) is None

        versions.put(load(tmp_path / "next", "scale", scale_model(5.0), inline=True))
        learned(way, scale())
        answer = way.answer(scale(2.0).SerializeToString())

        assert answer is not None
        raw = pb.ModelInferResponse.FromString(answer).raw_output_contents[0]
        assert np.frombuffer(raw, np.float32).tolist() == [10.0] * 4

    run(tmp_path, scenario)


class Mangled:
    """A body with bytes flipped, cut out and put in, near its start, where the header is."""

    def __init__(self, data: st.DataObject) -> None:
        make = data.draw(st.sampled_from([scale, add]))
        self.body = bytearray(make(3.0, request_id=data.draw(st.text(max_size=10))).SerializeToString())
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, min(len(self.body), 120)))
            kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
            if kind == "insert":
                self.body[place:place] = data.draw(st.binary(min_size=1, max_size=4))
            elif kind == "cut":
                del self.body[place : place + data.draw(st.integers(1, 4))]
            elif place < len(self.body):
                self.body[place] ^= data.draw(st.integers(1, 255))


def test_mangled_bodies_are_answered_as_the_ordinary_way_would_or_not_at_all(tmp_path: Path) -> None:
    async def scenario(parts: Parts, tracing: Tracing) -> None:
        servicer, way, _, _ = parts
        learned(way, scale(), add())
        answered = 0

        @given(st.data())
        @settings(max_examples=1500, deadline=None, database=None)
        def check(data: st.DataObject) -> None:
            nonlocal answered
            body = bytes(Mangled(data).body)
            answer = way.answer(body)
            if answer is None:
                return
            answered += 1
            call = servicer.ModelInfer(pb.ModelInferRequest.FromString(body), Context())
            with pytest.raises(StopIteration) as finished:  # an inline model answers without suspending
                call.send(None)
            assert pb.ModelInferResponse.FromString(answer) == finished.value.value

        check()
        assert answered > 0  # an id may change and bytes of tensors may change: those are still plain requests

    run(tmp_path, scenario)
