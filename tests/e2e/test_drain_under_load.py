"""SIGTERM while many callers are busy: every request that was taken is answered, every other one is refused."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.scale_models import golden, scale_model, write_version
from tests.serve_process import FRONTS, running_server

TIMEOUT_S = 30.0
CALLERS = 16
ANSWERS_BEFORE_SIGTERM = 3

# A delay keeps requests in the queue, so that the signal finds some there.
SLOW_CONFIG = "max_batch_size: 64 dynamic_batching { max_queue_delay_microseconds: 30000 }"


class Caller:
    """Asks for the double of ever new numbers until it is refused."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answers = 0
        self.wrong: list[tuple[float, float]] = []
        self.warm = asyncio.Event()

    async def call_until_refused(self, target: str) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(target) as channel:
            infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            while True:
                value = float(self.number * 1000 + self.answers)
                request = pb.ModelInferRequest(model_name="doubling")
                request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
                request.raw_input_contents.append(np.full((1, 4), value, np.float32).tobytes())
                try:
                    response = await infer(request, timeout=TIMEOUT_S)
                except grpc.aio.AioRpcError as refused:
                    return refused.code()
                self._check(value, response)

    def _check(self, value: float, response: pb.ModelInferResponse) -> None:
        answer = float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])
        if answer != 2 * value:
            self.wrong.append((value, answer))
        self.answers += 1
        if self.answers >= ANSWERS_BEFORE_SIGTERM:
            self.warm.set()


@pytest.mark.parametrize("front", FRONTS)
def test_no_request_that_was_taken_is_lost(front: str, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    write_version(repository, "doubling", 1, scale_model(2.0), golden(2.0))
    (repository / "doubling" / "config.pbtxt").write_text(SLOW_CONFIG, encoding="utf-8")

    with running_server(repository, tmp_path / "log", front=front) as server:

        async def scenario() -> tuple[list[Caller], Counter[grpc.StatusCode]]:
            callers = [Caller(number) for number in range(CALLERS)]
            calling = [asyncio.ensure_future(caller.call_until_refused(server.target)) for caller in callers]
            await asyncio.gather(*(caller.warm.wait() for caller in callers))
            server.signal(signal.SIGTERM)
            return callers, Counter(await asyncio.gather(*calling))

        callers, codes = asyncio.run(scenario())

        assert server.exit_code() == 0
    assert codes == {grpc.StatusCode.UNAVAILABLE: CALLERS}
    assert [caller.wrong for caller in callers] == [[]] * CALLERS
    assert "calls cut" not in server.log_text()
    assert "Traceback" not in server.log_text()
