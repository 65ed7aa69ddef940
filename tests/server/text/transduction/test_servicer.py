"""Transduce over a repository that runs: a model that copies, whose every answer is known."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cuelight.server.companions import accompanied
from cuelight.server.config import EngineConfig, TextConfig
from cuelight.server.errors import DeadlineExceeded, InvalidRequest, ModelNotFound, Overloaded, Unsupported
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.version_loader import Extensions, VersionLoader
from cuelight.server.text.models import TextModels
from cuelight.server.text.transduction.companion import TransductionCompanion
from cuelight.server.text.transduction.engine import TransductionEngine
from cuelight.server.text.transduction.servicer import TransductionServicer
from cuelight.text.v1 import text_pb2 as pb
from tests.running_repository import index, run, running
from tests.scale_models import scale_model, write_version
from tests.transduction_models import CERTAINTY, LETTERS, MAX_TOKENS, PADDING, log_probability_of, write_copycat

Scenario = Callable[[TransductionServicer, ModelRepository], Awaitable[None]]


class Context:
    """As much of a call as the servicer looks at."""

    def __init__(self, deadline_s: float | None = None) -> None:
        self._deadline_s = deadline_s

    def deadline(self) -> float | None:
        return self._deadline_s


def serve(folder: Path, scenario: Scenario, max_queue_size: int = 4096) -> None:
    async def with_servicer() -> None:
        loader = VersionLoader(
            EngineConfig(cores=1, device="cpu"), max_queue_size, None, Extensions(accompany=accompanied)
        )
        async with running(folder, loader=loader) as repository:
            await scenario(TransductionServicer(TextModels(repository, TextConfig()), Counter()), repository)

    run(with_servicer)


async def answer(
    servicer: TransductionServicer, text: str, *, deadline_s: float | None = None, **options: Any
) -> list[pb.TransduceResponse]:
    call = servicer.Transduce(pb.TransduceRequest(text=text, **options), Context(deadline_s))  # type: ignore[arg-type]
    return [response async for response in call]


def engine_of(repository: ModelRepository, name: str = "copycat") -> TransductionEngine:
    companion = repository.get(name).companion
    assert isinstance(companion, TransductionCompanion)
    return companion.engine()


def test_tokens_come_as_they_are_made_and_then_the_whole(tmp_path: Path) -> None:
    write_copycat(tmp_path, version=3)

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        responses = await answer(servicer, "Cab")

        assert responses[0].started == pb.TransductionStarted(
            model="copycat", model_version=3, source_tokens=["c", "a", "b", "</s>"]
        )
        assert not any(response.HasField("started") for response in responses[1:])
        assert not any(response.HasField("result") for response in responses[:-1])
        assert [token.token for response in responses for token in response.tokens] == ["C", "A", "B"]
        (whole,) = responses[-1].result.alternatives
        assert whole.text == "C-A-B"
        assert [token.token for token in whole.tokens] == ["C", "A", "B"]
        assert whole.end == pb.Transduction.COMPLETE
        assert whole.log_probability == pytest.approx(log_probability_of("cab"), rel=1e-6)
        assert all(token.log_probability == pytest.approx(math.log(CERTAINTY)) for token in whole.tokens)
        assert not any(token.attention for token in whole.tokens)

    serve(tmp_path, scenario)


def test_attention_is_where_each_token_looked(tmp_path: Path) -> None:
    write_copycat(tmp_path)

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        responses = await answer(servicer, "fade", attention=True)

        (whole,) = responses[-1].result.alternatives
        looked = np.array([token.attention for token in whole.tokens])
        np.testing.assert_array_equal(looked, np.eye(4, 5))

    serve(tmp_path, scenario)


def test_a_beam_gives_alternatives_best_first(tmp_path: Path) -> None:
    write_copycat(tmp_path)

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        responses = await answer(servicer, "abba", beam_width=5, max_alternatives=3)

        alternatives = responses[-1].result.alternatives
        assert alternatives[0].text == "A-B-B-A"
        assert alternatives[0].log_probability == pytest.approx(log_probability_of("abba"), rel=1e-6)
        assert len(alternatives) == 3
        scores = [one.log_probability for one in alternatives]
        assert scores == sorted(scores, reverse=True)
        assert [token.token for response in responses for token in response.tokens] == ["A", "B", "B", "A"]

    serve(tmp_path, scenario)


@pytest.mark.parametrize(("options", "length"), [({}, MAX_TOKENS), ({"max_tokens": 2}, 2), ({"max_tokens": 13}, None)])
def test_the_longest_output_is_the_models_or_less(tmp_path: Path, options: dict[str, int], length: int | None) -> None:
    write_copycat(tmp_path)
    text = "abcdefghabcdefgh"

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        if length is None:
            with pytest.raises(InvalidRequest, match="max_tokens: expected 0 to 12, got 13"):
                await answer(servicer, text, **options)
            return
        (whole,) = (await answer(servicer, text, **options))[-1].result.alternatives
        assert whole.text == "-".join(text.upper()[:length])
        assert whole.end == pb.Transduction.MAX_TOKENS

    serve(tmp_path, scenario)


def test_many_at_once_share_batches_and_each_gets_its_own(tmp_path: Path) -> None:
    write_copycat(tmp_path)
    texts = [f"{LETTERS[number % 8]}{LETTERS[number // 8]}" * (1 + number % 5) for number in range(64)]

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        widths = [0 if number % 3 else 4 for number in range(64)]

        answers = await asyncio.gather(
            *(answer(servicer, text, beam_width=width) for text, width in zip(texts, widths, strict=True))
        )

        assert [one[-1].result.alternatives[0].text for one in answers] == ["-".join(text.upper()) for text in texts]
        engine = engine_of(repository)
        assert engine.stepped_rows / engine.steps > 4
        assert engine.load == 0

    serve(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("", {}, InvalidRequest, "text: expected a text, got an empty one"),
        ("abz", {}, InvalidRequest, "text: character 2 is 'z', which the model does not know; it knows abcdefgh"),
        ("a" * 20, {}, InvalidRequest, "text: expected at most 19 characters, got 20"),
        ("a", {"beam_width": 17}, InvalidRequest, "beam_width: expected 0 to 16, got 17"),
        ("a", {"beam_width": -1}, InvalidRequest, "beam_width: expected 0 to 16, got -1"),
        ("a", {"max_tokens": -1}, InvalidRequest, "max_tokens: expected 0 to 12, got -1"),
        ("a", {"max_alternatives": 2}, InvalidRequest, "max_alternatives: expected 0 to 1, the beam's width, got 2"),
        ("a", {"beam_width": 2, "length_penalty": 2.5}, InvalidRequest, "length_penalty: expected 0 to 2, got 2.5"),
        (
            "a",
            {"beam_width": 2, "length_penalty": math.nan},
            InvalidRequest,
            "length_penalty: expected 0 to 2, got nan",
        ),
        ("a", {"length_penalty": 0.5}, InvalidRequest, "length_penalty: 0.5 needs a beam_width of 2 or more"),
        ("a", {"model": "absent"}, ModelNotFound, "absent"),
        ("a", {"model": "scale"}, InvalidRequest, 'model: "scale" does not transduce text; there are copycat'),
    ],
)
def test_what_cannot_be_answered_is_named(
    tmp_path: Path, text: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    write_copycat(tmp_path)
    write_version(tmp_path, "scale", 1, scale_model(2.0))

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        with pytest.raises(error) as caught:
            await answer(servicer, text, **options)

        assert message in str(caught.value)

    serve(tmp_path, scenario)


def test_a_server_without_such_a_model_says_so(tmp_path: Path) -> None:
    write_version(tmp_path, "scale", 1, scale_model(2.0))

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        with pytest.raises(Unsupported, match="no model that transduces text serves"):
            await answer(servicer, "a")

    serve(tmp_path, scenario)


def test_a_caller_that_leaves_stops_its_work(tmp_path: Path) -> None:
    write_copycat(tmp_path)

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        request = pb.TransduceRequest(text="abcdefgh")
        async with aclosing(servicer.Transduce(request, Context())) as leaving:  # type: ignore[arg-type]
            first = await anext(leaving)
            assert first.tokens[0].token == "A"

        assert engine_of(repository).load == 0
        assert (await answer(servicer, "ab"))[-1].result.alternatives[0].text == "A-B"

    serve(tmp_path, scenario)


def test_a_deadline_that_has_passed_costs_nothing(tmp_path: Path) -> None:
    write_copycat(tmp_path)

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        with pytest.raises(DeadlineExceeded):
            await answer(servicer, "ab", deadline_s=0.0)

        assert engine_of(repository).steps == 0

    serve(tmp_path, scenario)


def test_more_than_fit_are_refused_and_the_others_answered(tmp_path: Path) -> None:
    write_copycat(tmp_path)

    async def scenario(servicer: TransductionServicer, repository: ModelRepository) -> None:
        calls = (answer(servicer, "abc") for _ in range(200))

        answers = await asyncio.gather(*calls, return_exceptions=True)

        refused = [one for one in answers if isinstance(one, BaseException)]
        assert all(isinstance(one, Overloaded) for one in refused)
        assert 0 < len(refused) < 200
        texts = {one[-1].result.alternatives[0].text for one in answers if not isinstance(one, BaseException)}
        assert texts == {"A-B-C"}

    serve(tmp_path, scenario, max_queue_size=8)


@pytest.mark.parametrize(
    "kind",
    ["decoder gone", "decoder of another", "facts wrong", "golden disagrees", "no padding", "memory does not grow"],
)
def test_a_version_that_cannot_transduce_is_not_served(tmp_path: Path, kind: str) -> None:
    folder = write_copycat(
        tmp_path,
        start="<go>" if kind == "facts wrong" else "<s>",
        padding={"no padding": [], "memory does not grow": [{**PADDING[0], "outputs": []}]}.get(kind, PADDING),
    )
    reason = {
        "decoder gone": "decoder.onnx: ONNX Runtime cannot load it",
        "decoder of another": 'input "memory": the encoder gives none of that name, but memory_of_another, place',
        "facts wrong": "start: '<go>' is not in its vocabulary",
        "no padding": "length_input, got source INT64 [-1,-1], length INT64 [-1]",
        "memory does not grow": 'the decoder takes "memory" beside its states: expected it among the outputs of',
        "golden disagrees": 'decoder.golden.npz: golden case "0": output "log_probs": off by',
    }[kind]
    if kind == "decoder gone":
        (folder / "decoder.onnx").unlink()
    elif kind == "decoder of another":
        rename_memory(folder / "model.onnx")
    elif kind == "golden disagrees":
        write_wrong_golden(folder / "decoder.golden.npz")

    async def scenario() -> None:
        loader = VersionLoader(EngineConfig(cores=1, device="cpu"), 8, None, Extensions(accompany=accompanied))
        async with running(tmp_path, loader=loader) as repository:
            state, why = (await index(repository))["copycat/1"]
            assert state == "UNAVAILABLE"
            assert reason in why

    run(scenario)


def rename_memory(path: Path) -> None:
    model = onnx.load(path)
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            node.output[place] = "memory_of_another" if name == "memory" else name
    model.graph.output[0].name = "memory_of_another"
    said = {prop.key: prop.value for prop in model.metadata_props}
    padding = json.loads(said["cuelight.padding"])
    padding[0]["outputs"][0]["output"] = "memory_of_another"
    onnx.helper.set_model_props(model, {**said, "cuelight.padding": json.dumps(padding)})
    onnx.save(model, path)


def write_wrong_golden(path: Path) -> None:
    inputs = {
        "token": np.array([9], np.int64),
        "place": np.zeros((1, 1), np.float32),
        "memory": np.ones((1, 3, 1), np.float32),
    }
    arrays: dict[str, Any] = {f"0/inputs/{name}": array for name, array in inputs.items()}
    arrays["0/outputs/log_probs"] = np.zeros((1, 10), np.float32)
    np.savez(path, atol=1e-4, rtol=0.0, **arrays)


def test_a_caller_that_leaves_before_the_end_is_counted_as_such(tmp_path: Path) -> None:
    write_copycat(tmp_path)

    async def scenario(_: TransductionServicer, repository: ModelRepository) -> None:
        ended: Counter[str] = Counter()
        servicer = TransductionServicer(TextModels(repository, TextConfig()), ended)
        call = servicer.Transduce(pb.TransduceRequest(text="abcdefgh"), Context())  # type: ignore[arg-type]
        async with aclosing(call):
            await anext(call)
        await answer(servicer, "abc")

        assert ended == {"left": 1, "complete": 1}

    serve(tmp_path, scenario)
