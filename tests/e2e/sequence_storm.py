"""A storm of sequences: everything callers do to them, at random, and every answer checked to the bit.

Each actor drives one sequence after another, by unary calls or on a stream, over a real server, and keeps the state the
model would have if the sequence ran alone. What a caller cannot know (was a step that timed out taken?) it asks the
server: `sequence_steps` of the next answer says how many steps were.

`python -m tests.e2e.sequence_storm --front grpcio --seconds 600` runs one seed after another and says how many steps
were checked.
"""

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from tests.scale_models import write_version
from tests.sequence_models import INPUT_SIZE, LSTM_PAIRS, Alone, Arrays, lstm_model
from tests.serve_process import running_server

MODEL = "lstm"
MAX_IDLE_S = 1.5
CONFIG = f"sequence_batching {{ max_sequence_idle_microseconds: {int(MAX_IDLE_S * 1e6)} }}"
TIMEOUT_S = 60.0
ACTORS = 50

Stub: Any = pb_grpc.GRPCInferenceServiceStub


def write_model(repository: Path) -> None:
    """Write the model that the storm is about."""
    write_version(repository, MODEL, 1, lstm_model())
    (repository / MODEL / "config.pbtxt").write_text(CONFIG)


@dataclass
class Tally:
    """What happened, by kind, over all actors."""

    counts: Counter[str] = field(default_factory=Counter)


class Expected:
    """What one sequence must answer: the model run alone, in this process."""

    def __init__(self, model: Alone) -> None:
        self._model = model
        self.state: Arrays = model.begin()
        self.steps = 0

    def step(self, x: NDArray[Any]) -> NDArray[Any]:
        """Take a step and return the output."""
        outputs, self.state = self._model.step(self.state, {"x": x})
        self.steps += 1
        return outputs["y"]


def request(
    sequence_id: str, x: NDArray[Any], *, start: bool = False, end: bool = False, counted: bool = True
) -> pb.ModelInferRequest:
    """Return a step, which asks for the number of steps too if it is to be `counted`."""
    message = pb.ModelInferRequest(model_name=MODEL)
    message.inputs.add(name="x", datatype="FP32", shape=x.shape)
    message.raw_input_contents.append(x.tobytes())
    message.parameters["sequence_id"].string_param = sequence_id
    if counted:
        message.parameters["return_resume_token"].bool_param = True
    if start:
        message.parameters["sequence_start"].bool_param = True
    if end:
        message.parameters["sequence_end"].bool_param = True
    return message


def output_of(response: pb.ModelInferResponse) -> NDArray[Any]:
    """Return the step's output."""
    return np.frombuffer(response.raw_output_contents[0], np.float32)[np.newaxis]


def steps_of(response: pb.ModelInferResponse) -> int:
    """Return how many steps the server has counted."""
    return response.parameters["sequence_steps"].int64_param


_LEFT = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Actor:
    """Drives sequences one after another, and checks every answer."""

    def __init__(self, number: int, seed: int, stub: Any, model: Alone, tally: Tally) -> None:
        self._dice = random.Random(f"{seed}/{number}")
        self._noise = np.random.default_rng((seed, number))
        self._ids = (f"{number}-{count}" for count in itertools.count())
        self._stub = stub
        self._model = model
        self._tally = tally.counts

    async def unary(self, length: int) -> None:
        """Drive one sequence by unary calls: with deadlines, cancellations, bad steps and pauses that are too long."""
        sequence_id, expected, start = next(self._ids), Expected(self._model), True
        unsure: NDArray[Any] | None = None
        good_s = sent_s = time.monotonic()
        for number in range(length):
            if not start and self._dice.random() < 0.05:
                await self._bad_step(sequence_id)
            if not start and self._dice.random() < 0.01:
                await self._expire(sequence_id)
                expected, start, unsure = Expected(self._model), True, None
            x, end = self._x(), number == length - 1
            message = request(sequence_id, x, start=start, end=end)
            sent_s = time.monotonic()
            fate = "keep" if start or end or unsure is not None else self._fate()
            try:
                if fate != "keep" and not await self._abandoned(message, fate):
                    unsure = x
                    continue
                response = await self._stub.ModelInfer(message, timeout=TIMEOUT_S) if fate == "keep" else self._answer
            except grpc.aio.AioRpcError as error:
                # Only a machine that stood still for long may let a sequence expire that is being stepped: it cannot
                # have been idle for longer than since its last good step was sent.
                assert error.code() is grpc.StatusCode.FAILED_PRECONDITION, error
                assert not start, error
                assert time.monotonic() - good_s > MAX_IDLE_S, error
                self._tally["restarted after a standstill"] += 1
                return
            if unsure is not None and steps_of(response) == expected.steps + 2:
                expected.step(unsure)
                self._tally["abandoned steps that were taken"] += 1
            unsure, good_s = None, sent_s
            self._check(expected, x, response)
            start = False
        await self._gone(sequence_id)

    async def stream(self, length: int) -> None:
        """Drive one sequence on a stream, some steps ahead of the answers, to its end or until the stream is cut."""
        sequence_id, expected = next(self._ids), Expected(self._model)
        cut_after = self._dice.randrange(length) if self._dice.random() < 0.4 else None
        # Steps that are plain, and bear nothing but the sequence's id, go another way through the server.
        self._counted = self._dice.random() < 0.5
        sent: asyncio.Queue[tuple[NDArray[Any] | None, float]] = asyncio.Queue()
        call = self._stub.ModelStreamInfer(self._stream_requests(sequence_id, length, sent), timeout=TIMEOUT_S)
        answers, good_s = 0, time.monotonic()
        async for response in call:
            x, sent_s = await sent.get()
            if "is not active" in response.error_message and x is not None:
                assert time.monotonic() - good_s > MAX_IDLE_S, response.error_message
                self._tally["restarted after a standstill"] += 1
                call.cancel()
                return
            if x is None:
                assert "shape" in response.error_message or "expected" in response.error_message, response
                self._tally["bad steps refused"] += 1
                continue
            assert not response.error_message, response.error_message
            self._check(expected, x, response.infer_response)
            good_s = sent_s
            answers += 1
            if answers == cut_after:
                call.cancel()
                self._tally["streams cut"] += 1
                return
        assert answers == length
        await self._gone(sequence_id)

    async def _stream_requests(
        self, sequence_id: str, length: int, sent: "asyncio.Queue[tuple[NDArray[Any] | None, float]]"
    ) -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(length):
            if number and self._dice.random() < 0.05:
                sent.put_nowait((None, time.monotonic()))
                yield request(sequence_id, np.zeros((1, INPUT_SIZE + 1), np.float32))
            x = self._x()
            sent.put_nowait((x, time.monotonic()))
            end = number == length - 1
            yield request(sequence_id, x, start=number == 0, end=end, counted=self._counted)
            if self._dice.random() < 0.2:
                await asyncio.sleep(0)

    def _check(self, expected: Expected, x: NDArray[Any], response: pb.ModelInferResponse) -> None:
        want = expected.step(x)
        if "sequence_steps" in response.parameters:
            assert steps_of(response) == expected.steps
        else:
            self._tally["plain steps"] += 1
        assert output_of(response).tobytes() == want.tobytes(), f"step {expected.steps} differs"
        self._tally["steps checked"] += 1

    def _x(self) -> NDArray[Any]:
        return self._noise.standard_normal((1, INPUT_SIZE)).astype(np.float32)

    def _fate(self) -> str:
        return self._dice.choices(["keep", "deadline", "cancel"], [0.9, 0.05, 0.05])[0]

    async def _abandoned(self, message: pb.ModelInferRequest, fate: str) -> bool:
        """Send a step with a deadline that is too short, or cancel it; return whether its answer came all the same."""
        short_s = self._dice.uniform(0.0001, 0.004)
        call = self._stub.ModelInfer(message, timeout=short_s if fate == "deadline" else TIMEOUT_S)
        if fate == "cancel":
            asyncio.get_running_loop().call_later(short_s, call.cancel)
        try:
            self._answer = await call
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            if isinstance(error, grpc.aio.AioRpcError) and error.code() not in _LEFT:
                raise
            self._tally[f"steps abandoned by {fate}"] += 1
            return False
        return True

    async def _bad_step(self, sequence_id: str) -> None:
        try:
            await self._stub.ModelInfer(request(sequence_id, np.zeros((1, 3), np.float32)), timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
        else:
            raise AssertionError("a step of the wrong shape was taken")
        self._tally["bad steps refused"] += 1

    async def _expire(self, sequence_id: str) -> None:
        await asyncio.sleep(MAX_IDLE_S * 1.5)
        await self._gone(sequence_id)
        self._tally["sequences expired"] += 1

    async def _gone(self, sequence_id: str) -> None:
        """Check that the sequence can be stepped no more."""
        try:
            await self._stub.ModelInfer(request(sequence_id, self._x()), timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION, error
        else:
            raise AssertionError(f"sequence {sequence_id} lives on")

    _counted = True
    _answer: Any = None


async def storm(target: str, seed: int, sequences: int, steps: int) -> Counter[str]:
    """Run `sequences` sequences of about `steps` steps in all, `ACTORS` at a time; return what happened.

    Raises: AssertionError at the first answer that is not the expected one.
    """
    tally = Tally()
    dice = random.Random(seed)
    lengths = iter([max(2, round(dice.uniform(0.25, 1.75) * steps / sequences)) for _ in range(sequences)])
    model = Alone(lstm_model(), LSTM_PAIRS)

    async def act(number: int, stub: Any) -> None:
        actor = Actor(number, seed, stub, model, tally)
        for length in lengths:
            tally.counts["sequences"] += 1
            await (actor.stream(length) if dice.random() < 0.5 else actor.unary(length))

    async with grpc.aio.insecure_channel(target) as channel, asyncio.TaskGroup() as group:
        stub = Stub(channel)
        for number in range(ACTORS):
            group.create_task(act(number, stub))
    return tally.counts


def main() -> None:
    """Run storms, one seed after another, for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--front", default="grpcio")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "models")
        with running_server(Path(folder) / "models", Path(folder) / "log", front=options.front) as server:
            until_s = time.monotonic() + options.seconds
            for seed in itertools.count(1):
                total += asyncio.run(storm(server.target, seed, 500, 20_000))
                print(f"seed {seed}: {dict(total)}", flush=True)
                if time.monotonic() > until_s:
                    break


if __name__ == "__main__":
    main()
