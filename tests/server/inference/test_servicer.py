"""ModelInfer and ModelStreamInfer over real models, inline and queued: order, errors, and callers that leave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InvalidRequest, ModelNotFound
from cuelight.server.inference.servicer import InferenceServicer
from cuelight.server.inference.shared_memory import SharedMemoryRegions
from cuelight.server.rpc.context import Metadata
from tests.scale_models import scale_model
from tests.server.inference.loaded import Versions, load, sequence_steps


class Context:
    """A call without a deadline."""

    attachment: object = None

    def metadata(self) -> Metadata:
        return ()

    def deadline(self) -> float | None:
        return None

    def peer(self) -> str:
        return "test"

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        raise AssertionError("no trailing metadata is expected")


class NoTracer:
    enabled = False


def request(value: float, model: str = "inline", rows: int = 1, name: str = "x") -> pb.ModelInferRequest:
    result = pb.ModelInferRequest(model_name=model, id=str(value))
    result.inputs.add(name=name, datatype="FP32", shape=[rows, 4])
    result.raw_input_contents.append(np.full((rows, 4), value, np.float32).tobytes())
    return result


def values(response: pb.ModelInferResponse) -> list[float]:
    return list(np.frombuffer(response.raw_output_contents[0], np.float32))


def run(tmp_path: Path, scenario: Callable[[InferenceServicer, Versions], Awaitable[None]], window: int = 4) -> None:
    async def main() -> None:
        versions = Versions(
            load(tmp_path, "inline", scale_model(2.0), inline=True),
            load(tmp_path, "queued", scale_model(3.0), inline=False),
        )
        tracer: Any = NoTracer()
        regions = SharedMemoryRegions()
        servicer = InferenceServicer(versions, regions, tracer, sequence_steps(regions), max_stream_in_flight=window)
        try:
            await scenario(servicer, versions)
        finally:
            await versions.stop()

    asyncio.run(main())


async def stream_of(*requests: pb.ModelInferRequest) -> AsyncIterator[pb.ModelInferRequest]:
    for one in requests:
        yield one


@pytest.mark.parametrize(("model", "factor"), [("inline", 2.0), ("queued", 3.0)])
def test_a_request_is_answered_with_its_id_and_version(tmp_path: Path, model: str, factor: float) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        for value in (1.0, 5.0, 7.0):
            response = await servicer.ModelInfer(request(value, model, rows=2), Context())

            assert (response.model_name, response.model_version, response.id) == (model, "1", str(value))
            assert [(t.name, t.datatype, list(t.shape)) for t in response.outputs] == [("y", "FP32", [2, 4])]
            assert values(response) == [factor * value] * 8

    run(tmp_path, scenario)


def test_a_stopped_version_refuses_whoever_still_holds_it(tmp_path: Path) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        await servicer.ModelInfer(request(1.0), Context())
        version = versions.remove("inline")
        await version.stop()

        assert version.direct is None
        assert version.inline_rows == 0

    run(tmp_path, scenario)


@pytest.mark.parametrize("model", ["inline", "queued"])
def test_a_stream_answers_in_order_and_lives_on_after_errors(tmp_path: Path, model: str) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        requests = [request(float(value), model) for value in range(20)]
        requests[3] = request(3.0, model, name="z")
        requests[7] = request(7.0, "nothing")

        answers = [answer async for answer in servicer.ModelStreamInfer(stream_of(*requests), Context())]

        assert [answer.infer_response.id for answer in answers] == [str(float(value)) for value in range(20)]
        assert 'input "z"' in answers[3].error_message
        assert '"nothing"' in answers[7].error_message
        good = [index for index in range(20) if index not in (3, 7)]
        factor = {"inline": 2.0, "queued": 3.0}[model]
        assert [values(answers[index].infer_response)[0] for index in good] == [factor * index for index in good]

    run(tmp_path, scenario)


def test_a_stream_may_mix_models_and_keeps_the_order(tmp_path: Path) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        models = ["inline", "queued", "inline", "queued", "inline", "inline"]
        requests = [request(float(index), model) for index, model in enumerate(models)]

        answers = [answer async for answer in servicer.ModelStreamInfer(stream_of(*requests), Context())]

        assert [answer.infer_response.model_name for answer in answers] == models

    run(tmp_path, scenario)


def test_a_stream_reads_no_further_ahead_than_its_window(tmp_path: Path) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        taken = 0

        async def endless() -> AsyncIterator[pb.ModelInferRequest]:
            nonlocal taken
            while True:
                taken += 1
                yield request(float(taken), "queued")
                await asyncio.sleep(0)

        responses = servicer.ModelStreamInfer(endless(), Context())
        for _ in range(10):
            await anext(responses)
        await responses.aclose()

        assert taken <= 10 + 4 + 2  # what was answered, the window, and one request in each hand
        assert versions.get("queued").queue_depth == 0 or await drained(versions)

    run(tmp_path, scenario)


async def drained(versions: Versions) -> bool:
    """Let what was withdrawn fall out of the queue: one more request goes through it."""
    await versions.get("queued").infer({"x": np.ones((1, 4), np.float32)})
    return versions.get("queued").queue_depth == 0


def test_a_caller_that_leaves_withdraws_its_request(tmp_path: Path) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        version = versions.get("queued")
        leaver = asyncio.ensure_future(servicer.ModelInfer(request(1.0, "queued"), Context()))
        await asyncio.sleep(0)
        leaver.cancel()

        with pytest.raises(asyncio.CancelledError):
            await leaver
        assert await drained(versions)
        assert version.statistics.cancel_count + version.statistics.success.count == 2

    run(tmp_path, scenario)


def test_an_unknown_model_is_the_callers_error(tmp_path: Path) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        with pytest.raises(ModelNotFound):
            await servicer.ModelInfer(request(1.0, "nothing"), Context())

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["z"], 'output "z": the model has no such output; it gives "y"'),
        (["y", "y"], 'output "y": asked for twice'),
    ],
)
def test_requested_outputs_are_checked_before_anything_runs(tmp_path: Path, outputs: list[str], message: str) -> None:
    async def scenario(servicer: InferenceServicer, versions: Versions) -> None:
        wrong = request(1.0)
        for name in outputs:
            wrong.outputs.add(name=name)

        with pytest.raises(InvalidRequest, match=message):
            await servicer.ModelInfer(wrong, Context())
        assert versions.get("inline").statistics.execution_count == 0

    run(tmp_path, scenario)
