"""Live frames: the newest count, the oldest are dropped and counted, and how a stream ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from cuelight.server.errors import CuelightError, InvalidRequest, SequenceNotActive, ShuttingDown
from cuelight.server.vision.frame_line import FrameLine, FrameRoom
from cuelight.server.vision.frames import FrameCall
from cuelight.vision.v1 import vision_pb2 as pb


def frame(number: int) -> pb.ClassifyFramesRequest:
    return pb.ClassifyFramesRequest(frame=pb.Frame(id=number, time_ms=number * 16))


@pytest.mark.parametrize(
    ("max_waiting", "came", "kept", "dropped"),
    [
        (1, [], [], 0),
        (1, [1], [1], 0),
        (1, [1, 2, 3], [3], 2),
        (3, [1, 2, 3], [1, 2, 3], 0),
        (2, [1, 2, 3, 4], [3, 4], 2),
    ],
)
def test_a_full_line_drops_the_oldest(max_waiting: int, came: list[int], kept: list[int], dropped: int) -> None:
    line = FrameLine(max_waiting, FrameRoom(1 << 20))
    fell = [line.put(frame(number).frame) for number in came]

    taken = [line.take() for _ in range(len(line))]

    assert [one.id for one, _ in taken] == kept
    assert [count for _, count in taken] == [dropped, *[0] * len(kept)][: len(kept)]
    assert line.dropped_total == dropped == sum(fell)


def test_where_all_streams_hold_too_much_a_line_keeps_its_newest_alone() -> None:
    large = pb.Frame(image=pb.Image(encoded=bytes(100)))
    room = FrameRoom(3 * large.ByteSize())
    one, other = FrameLine(16, room), FrameLine(16, room)

    fell = [one.put(large), one.put(large), one.put(large), one.put(large), other.put(large), other.put(large)]

    assert fell == [0, 0, 0, 1, 0, 1]
    assert (len(one), len(other)) == (3, 1)
    assert FrameLine(1, room).put(large) == 0
    one.take()
    one.clear()
    assert room.waiting_bytes == large.ByteSize()
    assert [other.put(large), other.put(large)] == [0, 0]


class Slow:
    """Answers a frame when the test says so."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self._go: asyncio.Queue[CuelightError | None] = asyncio.Queue()

    async def __call__(self, one: pb.Frame) -> pb.ClassifyFramesResponse:
        self.begun.put_nowait(one.id)
        if (error := await self._go.get()) is not None:
            raise error
        return pb.ClassifyFramesResponse(model="m")

    def go(self, error: CuelightError | None = None) -> None:
        self._go.put_nowait(error)


class Camera:
    """The requests of a call: what the test sends, until it is over."""

    def __init__(self) -> None:
        self._sent: asyncio.Queue[pb.ClassifyFramesRequest | None] = asyncio.Queue()

    async def send(self, *requests: pb.ClassifyFramesRequest | None) -> None:
        """Send, and return once the call has read it all; None ends the stream."""
        for request in requests:
            self._sent.put_nowait(request)
        await self._sent.join()

    async def __aiter__(self) -> AsyncIterator[pb.ClassifyFramesRequest]:
        while True:
            request = await self._sent.get()
            self._sent.task_done()
            if request is None:
                return
            yield request


Scenario = Callable[[FrameCall, Camera, Slow, "asyncio.Task[list[Any]]"], Coroutine[Any, Any, None]]


def run(scenario: Scenario, max_waiting: int = 1, max_idle_s: float = 60.0) -> int:
    """Run a scenario and return how many drops the call told of."""
    told: list[int] = []
    room = FrameRoom(1 << 20)

    async def whole() -> None:
        call, camera, slow = FrameCall(max_waiting, room, max_idle_s, told.append), Camera(), Slow()
        answers: list[Any] = []

        async def collect() -> list[Any]:
            try:
                async for response in call.answers(aiter(camera), slow):
                    answers.append((response.frame_id, response.time_ms, response.dropped, response.dropped_total))
            except CuelightError as error:
                answers.append(error)
            return answers

        await scenario(call, camera, slow, asyncio.ensure_future(collect()))

    asyncio.run(asyncio.wait_for(whole(), 30))
    assert room.waiting_bytes == 0
    return sum(told)


def test_while_one_frame_is_worked_on_only_the_newest_waits() -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(frame(1))
        assert await slow.begun.get() == 1
        await camera.send(frame(2), frame(3), frame(4))
        slow.go()
        assert await slow.begun.get() == 4
        await camera.send(frame(5), frame(6))
        slow.go()
        assert await slow.begun.get() == 6
        await camera.send(None)
        slow.go()

        assert await answers == [(1, 16, 0, 0), (4, 64, 2, 2), (6, 96, 1, 3)]

    assert run(scenario) == 3


def test_what_waits_when_the_camera_stops_is_still_answered() -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(frame(1))
        await slow.begun.get()
        await camera.send(frame(2), frame(3), frame(4), None)
        for _ in range(3):
            slow.go()

        assert await answers == [(1, 16, 0, 0), (3, 48, 1, 1), (4, 64, 0, 1)]

    assert run(scenario, max_waiting=2) == 1


def test_a_camera_without_frames_ends_well() -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(None)

        assert await answers == []

    run(scenario)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (pb.ClassifyFramesRequest(config=pb.FramesConfig()), "config came twice"),
        (pb.ClassifyFramesRequest(), "a message without frame or config"),
    ],
)
def test_what_came_before_a_wrong_message_is_answered_first(request_: pb.ClassifyFramesRequest, expected: str) -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(frame(1))
        await slow.begun.get()
        await camera.send(frame(2), request_)
        slow.go()
        slow.go()

        *answered, error = await answers
        assert [one[0] for one in answered] == [1, 2]
        assert isinstance(error, InvalidRequest) and expected in error.message

    run(scenario)


def test_a_server_that_shuts_down_answers_what_waits_and_sends_the_caller_elsewhere() -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(frame(1))
        await slow.begun.get()
        await camera.send(frame(2))
        call.hand_over()
        slow.go()
        slow.go()

        *answered, error = await answers
        assert [one[0] for one in answered] == [1, 2]
        assert isinstance(error, ShuttingDown)

    run(scenario)


def test_a_model_that_is_gone_ends_the_stream() -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(frame(1))
        await slow.begun.get()
        slow.go(ShuttingDown("gone"))

        (error,) = await answers
        assert str(error) == "gone"

    run(scenario)


def test_a_caller_that_sends_nothing_for_too_long_gets_what_waits_and_the_reason() -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(frame(1))
        await slow.begun.get()
        await camera.send(frame(2))
        slow.go()
        slow.go()

        *answered, error = await answers
        assert [one[0] for one in answered] == [1, 2]
        assert isinstance(error, SequenceNotActive) and "no frame came for 0.05 s" in error.message

    run(scenario, max_idle_s=0.05)


def test_a_caller_that_leaves_ends_the_reading() -> None:
    async def scenario(call: FrameCall, camera: Camera, slow: Slow, answers: "asyncio.Task[list[Any]]") -> None:
        await camera.send(frame(1))
        await slow.begun.get()
        answers.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answers

        others: Sequence[Any] = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.sleep(0)
        assert [task for task in others if "_read" in repr(task) and not task.done()] == []

    run(scenario)
