"""Images join the batches that tensors run in, and who leaves or sends nonsense harms nobody in them."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.config import VisionConfig
from cuelight.server.errors import InvalidRequest, ModelNotFound, Overloaded, SequenceNotActive, Unsupported
from cuelight.server.inference.batch_queue import BatchingConfig
from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.engine_pool import EnginePlan
from cuelight.server.inference.model_version import ModelVersion, StepTimes
from cuelight.server.inference.signature import ModelSignature, TensorSpec
from cuelight.server.rpc.context import RpcContext
from cuelight.server.vision.companion import VisionCompanion
from cuelight.server.vision.counts import VisionCounts
from cuelight.server.vision.image_calls import ImageWay
from cuelight.server.vision.image_facts import image_facts
from cuelight.server.vision.image_pool import ImagePool
from cuelight.server.vision.models import VisionModels
from cuelight.server.vision.pictures import ImageLimits
from cuelight.server.vision.servicer import VisionServicer
from cuelight.vision.v1 import vision_pb2 as pb
from tests.fakes import FakeEngine
from tests.vision_models import LABELS, SIZE, encoded, metadata, photo, plain

FP32 = DATATYPES["FP32"]
SIGNATURE = ModelSignature(
    {"image": TensorSpec("image", FP32, (-1, 3, SIZE, SIZE))},
    {"logits": TensorSpec("logits", FP32, (-1, 3)), "embedding": TensorSpec("embedding", FP32, (-1, 3))},
    8,
)
CONTEXT = cast(RpcContext, SimpleNamespace(deadline=lambda: None))


class ColorEngine(FakeEngine):
    """Gives the mean of each channel as logits and embedding; records, can be held, fails on white."""

    provider = "fake"
    config = SimpleNamespace(device="cpu")

    def __init__(self) -> None:
        super().__init__(lambda feeds: bool((feeds["image"] == 1).all(axis=(1, 2, 3)).any()))

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        super().run({"image": feeds["image"], "x": feeds["image"]})
        mean = feeds["image"].mean(axis=(2, 3))
        return [mean, mean]

    def close(self) -> None:
        self.executor.shutdown(wait=False)


def version_of(engine: ColorEngine, name: str = "colors", said: dict[str, str] | None = None) -> ModelVersion:
    made = said if said is not None else metadata()
    config = model_config_pb2.ModelConfig(name=name)
    for key, value in made.items():
        config.parameters[key].string_value = value
    companion = None
    if made.get("cuelight.task") == "image_classification":
        companion = VisionCompanion(image_facts(made, SIGNATURE), "", Path("model.onnx"))
    plan: Any = EnginePlan((engine,))
    return ModelVersion(name, 1, config, SIGNATURE, BatchingConfig(8, max_queue_size=20), plan, StepTimes({1: 1.0}),
                        digest="", golden_cases=0, directory=Path(), companion=companion)  # fmt: skip


class Serving:
    """Versions as the repository shows them."""

    def __init__(self, *versions: ModelVersion) -> None:
        self.versions = list(versions)

    def serving(self) -> list[ModelVersion]:
        return self.versions

    def get(self, name: str, version: str = "") -> ModelVersion:
        found = next((one for one in self.versions if one.name == name), None)
        if found is None:
            raise ModelNotFound(f'model "{name}"')
        return found


class World:
    """A servicer over one model whose engine the test holds."""

    def __init__(self, max_waiting: int = 100) -> None:
        self.engine = ColorEngine()
        self.version = version_of(self.engine)
        self.counts = VisionCounts()
        self.pool = ImagePool(2, max_waiting)
        self.way = ImageWay(self.pool, ImageLimits(100_000, 10_000), self.counts)
        self.models = VisionModels(Serving(self.version), "")
        self.servicer = VisionServicer(self.models, self.way, VisionConfig(max_images=16))

    async def classify(self, *images: bytes) -> pb.ClassifyResponse:
        request = pb.ClassifyRequest(images=[pb.Image(encoded=image) for image in images])
        return await self.servicer.Classify(request, CONTEXT)

    async def hold(self) -> "asyncio.Future[Any]":
        """Occupy the engine with a row of tensors, and return its future."""
        self.engine.hold()
        occupied = asyncio.ensure_future(self.version.infer({"image": np.zeros((1, 3, SIZE, SIZE), np.float32)}))
        await asyncio.to_thread(self.engine.entered.wait)
        return occupied

    async def queued(self, count: int) -> None:
        """Return once so many requests wait for the engine."""
        while self.version.queue_depth < count:  # noqa: ASYNC110 (no event tells of it)
            await asyncio.sleep(0)

    def rows(self) -> list[int]:
        return [len(feeds["x"]) for feeds in self.engine.batches]


@pytest.fixture(autouse=True)
def limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the process Pillow's own limit back, which a pool takes over."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    yield


def run(scenario: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def whole() -> None:
        world = World(**options)
        try:
            await scenario(world)
        finally:
            world.engine.let_go()
            await world.pool.stop()
            await world.version.stop()

    asyncio.run(asyncio.wait_for(whole(), 60))


def names(response: pb.ClassifyResponse) -> list[str]:
    return [result.labels[0].name if result.labels else "" for result in response.results]


def test_images_of_many_callers_and_tensors_share_a_batch() -> None:
    async def scenario(world: World) -> None:
        occupied = await world.hold()
        calls = [asyncio.ensure_future(world.classify(photo(color))) for color in LABELS]
        several = asyncio.ensure_future(world.classify(photo("blue"), photo("red")))
        tensor = asyncio.ensure_future(world.version.infer({"image": np.ones((1, 3, SIZE, SIZE), np.float32) * 0.5}))
        await world.queued(6)
        world.engine.let_go()
        await asyncio.gather(occupied, tensor)

        assert [names(await call) for call in calls] == [["red"], ["green"], ["blue"]]
        assert names(await several) == ["blue", "red"]
        assert world.rows() == [1, 6]

    run(scenario)


def test_one_bad_image_of_several_is_named_and_the_others_are_answered() -> None:
    async def scenario(world: World) -> None:
        response = await world.classify(photo("red"), b"no image at all", photo("green"), b"")

        assert names(response) == ["red", "", "green", ""]
        assert [result.error.code for result in response.results] == [0, 3, 0, 3]
        assert response.results[1].error.message.startswith("image 1: expected a JPEG, PNG or WebP file, got 15 bytes")
        assert response.results[3].error.message == "image 3: expected a JPEG, PNG or WebP file, got no bytes"
        assert (world.counts.images_decoded, world.counts.images_refused) == (2, 2)

    run(scenario)


def test_an_image_the_model_fails_on_harms_none_of_its_batch() -> None:
    async def scenario(world: World) -> None:
        occupied = await world.hold()
        white = encoded(np.full((8, 8, 3), 255, np.uint8))
        mine = asyncio.ensure_future(world.classify(photo("red"), white))
        other = asyncio.ensure_future(world.classify(photo("blue")))
        await world.queued(3)
        world.engine.let_go()
        await occupied

        assert names(await other) == ["blue"]
        response = await mine
        assert names(response) == ["red", ""]
        assert response.results[1].error.code == 13
        assert response.results[1].error.message == 'image 1: model "colors" failed to run this request'

    run(scenario)


def test_a_caller_that_leaves_takes_its_images_along_and_nobody_elses() -> None:
    async def scenario(world: World) -> None:
        occupied = await world.hold()
        leaving = asyncio.ensure_future(world.classify(photo("red"), photo("red"), photo("red")))
        staying = asyncio.ensure_future(world.classify(photo("green")))
        await world.queued(4)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        world.engine.let_go()
        await occupied

        assert names(await staying) == ["green"]
        assert world.rows() == [1, 1]

    run(scenario)


def test_a_line_that_is_full_refuses_the_call_as_a_whole() -> None:
    async def scenario(world: World) -> None:
        with world.pool.line(1):
            with pytest.raises(Overloaded, match="1 images wait to be decoded, there is no room for 3 more"):
                await world.classify(*[photo("red")] * 3)
            assert names(await world.classify(photo("green"), photo("blue"))) == ["green", "blue"]

        assert world.pool.inside == 0
        assert world.counts.images_decoded == 2

    run(scenario, max_waiting=1)


def test_a_call_of_many_images_has_no_more_than_a_batch_of_them_in_the_queue() -> None:
    async def scenario(world: World) -> None:
        occupied = await world.hold()
        many = asyncio.ensure_future(world.classify(*[photo("red")] * 16))
        await world.queued(8)
        while world.counts.images_decoded < 16:  # noqa: ASYNC110 (no event tells of it)
            await asyncio.sleep(0)
        assert world.version.queue_depth == 8
        one = asyncio.ensure_future(world.classify(photo("blue")))
        await world.queued(9)
        world.engine.let_go()
        await occupied

        assert names(await one) == ["blue"]
        assert names(await many) == ["red"] * 16
        assert world.rows() == [1, 8, 1, 8]

    run(scenario)


def test_an_explanation_keeps_no_more_of_a_picture_than_it_draws() -> None:
    async def scenario(world: World) -> None:
        image = pb.Image(encoded=encoded(np.zeros((60, 90, 3), np.uint8)))
        with world.models.using("", 0) as model, world.way.call(model, 3, None) as call:
            plain, small, whole = [await call.prepare(image, keep) for keep in (0, 30, 500)]

        assert plain.small is None
        assert small.small is not None and small.small.size == (30, 20)
        assert whole.small is not None and whole.small.size == whole.size == (90, 60)

    run(scenario)


def test_a_version_outlives_the_calls_that_use_it() -> None:
    async def scenario(world: World) -> None:
        occupied = await world.hold()
        call = asyncio.ensure_future(world.classify(photo("red")))
        await world.queued(1)
        retired = asyncio.ensure_future(world.version.retire())
        late = asyncio.ensure_future(world.classify(photo("blue")))
        await world.queued(2)
        assert not retired.done()
        world.engine.let_go()
        await occupied

        assert names(await call) + names(await late) == ["red", "blue"]
        await retired

    run(scenario)


def test_frames_are_counted_and_a_bad_one_does_not_end_the_stream() -> None:
    async def scenario(world: World) -> None:
        answered = asyncio.Event()

        async def requests() -> Any:
            yield pb.ClassifyFramesRequest(config=pb.FramesConfig(top_k=2, max_waiting=2))
            for number, image in ((1, photo("red")), (2, b"nonsense"), (3, photo("blue"))):
                yield pb.ClassifyFramesRequest(frame=pb.Frame(id=number, image=pb.Image(encoded=image)))
                await answered.wait()
                answered.clear()

        responses = []
        async for response in world.servicer.ClassifyFrames(requests(), CONTEXT):
            responses.append(response)
            assert world.counts.frame_streams == 1
            answered.set()

        assert [one.result.labels[0].name if one.result.labels else "" for one in responses] == ["red", "", "blue"]
        assert [len(one.result.labels) for one in responses] == [2, 0, 2]
        assert responses[1].result.error.message.startswith("frame 2: expected a JPEG, PNG or WebP file")
        assert (world.counts.frames_answered, world.counts.frames_dropped, world.counts.frame_streams) == (3, 0, 0)

    run(scenario)


def test_a_frame_for_which_there_is_no_room_is_told_so_and_the_stream_goes_on() -> None:
    async def scenario(world: World) -> None:
        occupied = await world.hold()
        row = {"image": np.zeros((1, 3, SIZE, SIZE), np.float32)}
        waiting = [asyncio.ensure_future(world.version.infer(row)) for _ in range(20)]
        await world.queued(20)
        told = asyncio.Event()

        async def requests() -> Any:
            yield pb.ClassifyFramesRequest(config=pb.FramesConfig())
            for color in ("red", "green"):
                yield pb.ClassifyFramesRequest(frame=pb.Frame(image=pb.Image(encoded=photo(color))))
                await told.wait()

        stream = world.servicer.ClassifyFrames(requests(), CONTEXT)
        full = await anext(stream)
        world.engine.let_go()
        await asyncio.gather(occupied, *waiting)
        told.set()

        assert full.result.error.code == 8
        assert (await anext(stream)).result.labels[0].name == "green"
        await stream.aclose()

    run(scenario)


@pytest.mark.parametrize(("sent", "words"), [([], "no config came"), ([pb.FramesConfig()], "no frame came")])
def test_a_stream_that_sends_nothing_for_too_long_ends(sent: list[pb.FramesConfig], words: str) -> None:
    async def scenario(world: World) -> None:
        never = asyncio.Event()

        async def requests() -> Any:
            for config in sent:
                yield pb.ClassifyFramesRequest(config=config)
            await never.wait()

        servicer = VisionServicer(world.models, world.way, VisionConfig(max_idle_s=0.05))
        with pytest.raises(SequenceNotActive, match=rf"{words} for 0.05 s"):
            await anext(servicer.ClassifyFrames(requests(), CONTEXT))
        assert world.counts.frame_streams == 0

    run(scenario)


def lookup(*versions: ModelVersion, default: str = "") -> VisionModels:
    return VisionModels(Serving(*versions), default)


def test_which_model_an_empty_name_stands_for() -> None:
    async def scenario() -> None:
        engine = ColorEngine()
        one, other = version_of(engine, "a"), version_of(engine, "b")
        speech = version_of(engine, "s", {"cuelight.task": "voice_activity_detection"})
        mute = version_of(engine, "m", {})

        assert lookup(one, speech).find("", 0).version is one
        assert lookup(one, other, default="b").find("", 0).version is other
        assert lookup(one, other).find("b", 1).version is other
        for models, name, error, words in (
            (lookup(one, other), "", InvalidRequest, "expected one of a, b"),
            (lookup(speech), "", ModelNotFound, '"image_classification" serves'),
            (lookup(one), "x", ModelNotFound, '"x"'),
            (lookup(speech), "s", InvalidRequest, 'does "voice_activity_detection", expected the task'),
            (lookup(mute), "m", InvalidRequest, 'metadata "cuelight.task" is missing'),
        ):
            with pytest.raises(error, match=words):
                models.find(name, 0)
        with pytest.raises(InvalidRequest, match="model_version: got -1"):
            lookup(one).find("a", -1)
        await asyncio.gather(*(version.stop() for version in (one, other, speech, mute)))

    asyncio.run(scenario())


def test_a_model_that_cannot_be_used_says_which_key_is_missing() -> None:
    companion = VisionCompanion(None, 'its metadata "cuelight.labels" is missing', Path())

    with pytest.raises(Unsupported, match=r'model "m" cannot be used for images: its metadata "cuelight.labels"'):
        companion.facts("m")


def test_colors_of_the_fake_are_those_of_the_pictures() -> None:
    assert plain("red").shape == (16, 16, 3)
    assert json.loads(metadata()["cuelight.labels"]) == list(LABELS)
    assert isinstance(ColorEngine().executor, ThreadPoolExecutor)
