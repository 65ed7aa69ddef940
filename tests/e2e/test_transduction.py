"""Texts transduced by the real server, on both fronts, through both clients, the command line and by hand."""

import asyncio
import json
import math
import random
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from cuelight.client import (
    AsyncChannel,
    AsyncTextClient,
    Channel,
    Decoding,
    InvalidRequest,
    NotFound,
    RetryPolicy,
    TextClient,
    Transduced,
)
from cuelight.inference.v2 import open_inference_pb2 as inference
from cuelight.inference.v2 import open_inference_pb2_grpc as inference_grpc
from cuelight.text.v1 import text_pb2 as pb
from tests.serve_process import FRONTS, ServeProcess, run_cuelight, running_server
from tests.transduction_models import CERTAINTY, LETTERS, MAX_SOURCE_TOKENS, log_probability_of, write_copycat

pytestmark = pytest.mark.slow

WIDTHS = (0, 0, 2, 5)


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A server with a model that copies, in capitals."""
    folder = tmp_path_factory.mktemp("copying")
    write_copycat(folder / "models")
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


def texts(count: int) -> list[str]:
    chosen = random.Random(7)
    return ["".join(chosen.choices(LETTERS, k=chosen.randint(1, 10))) for _ in range(count)]


def check(text: str, made: Transduced) -> None:
    """Check all that is known of the copy of a text."""
    assert made.best.text == "-".join(text.upper())
    assert made.source_tokens == (*text, "</s>")
    assert made.best.complete
    assert made.best.log_probability == pytest.approx(log_probability_of(text), rel=1e-5)


def test_a_text_comes_back_with_its_tokens_and_where_they_looked(server: ServeProcess) -> None:
    with Channel(server.target) as channel:
        client = TextClient(channel)

        made = client.transduce("Badge", Decoding(beam_width=3, alternatives=2, attention=True))

        assert (made.model, made.model_version) == ("copycat", 1)
        check("badge", made)
        assert len(made.alternatives) == 2
        attention = made.best.attention()
        assert attention is not None
        np.testing.assert_array_equal(attention, np.eye(5, 6))
        assert [token.token for token in client.transduce_stream("badge")] == list("BADGE")


def test_hundreds_at_once_each_get_their_own(server: ServeProcess) -> None:
    async def scenario() -> None:
        async with AsyncChannel(server.target) as channel:
            client = AsyncTextClient(channel)
            said = texts(400)
            calls = (
                client.transduce(text, Decoding(beam_width=WIDTHS[place % 4], alternatives=1))
                for place, text in enumerate(said)
            )
            for text, made in zip(said, await asyncio.gather(*calls), strict=True):
                check(text, made)

    asyncio.run(scenario())


def test_those_who_leave_harm_nobody(server: ServeProcess) -> None:
    async def leaving(client: AsyncTextClient, text: str) -> None:
        async with aclosing(client.transduce_stream(text)) as tokens:  # type: ignore[type-var]
            await anext(tokens)

    async def scenario() -> None:
        async with AsyncChannel(server.target) as channel:
            client = AsyncTextClient(channel)
            said = texts(100)
            gone = [asyncio.ensure_future(leaving(client, text)) for text in texts(50)]
            cancelled = [asyncio.ensure_future(client.transduce(text)) for text in texts(50)]
            staying = [asyncio.ensure_future(client.transduce(text)) for text in said]
            await asyncio.sleep(0)
            for call in cancelled:
                call.cancel()
            for text, made in zip(said, await asyncio.gather(*staying), strict=True):
                check(text, made)
            await asyncio.gather(*gone)
            await asyncio.gather(*cancelled, return_exceptions=True)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "text: expected a text, got an empty one"),
        ("ab!", "text: character 2 is '!'"),
        (
            "a" * MAX_SOURCE_TOKENS,
            f"expected at most {MAX_SOURCE_TOKENS - 1} characters, got {MAX_SOURCE_TOKENS}",
        ),
        ("a" * 1_000_000, "got 1000000"),
    ],
)
def test_what_cannot_be_taken_is_named_and_the_next_is_answered(server: ServeProcess, text: str, message: str) -> None:
    with Channel(server.target) as channel:
        client = TextClient(channel)

        with pytest.raises(InvalidRequest) as caught:
            client.transduce(text)

        assert message in str(caught.value)
        check("ab", client.transduce("ab"))
        with pytest.raises(NotFound):
            client.transduce("ab", model="absent")


def test_text_that_is_no_utf8_is_refused(server: ServeProcess) -> None:
    with grpc.insecure_channel(server.target) as channel:
        call: Any = channel.unary_stream("/cuelight.text.v1.TextService/Transduce")

        with pytest.raises(grpc.RpcError) as caught:
            list(call(b"\x12\x02\xff\xfe", timeout=10))

        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_first_message_names_the_source_and_the_last_has_the_whole(server: ServeProcess) -> None:
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_stream(
            "/cuelight.text.v1.TextService/Transduce",
            request_serializer=pb.TransduceRequest.SerializeToString,
            response_deserializer=pb.TransduceResponse.FromString,
        )

        responses = list(call(pb.TransduceRequest(text="head"), timeout=10))

        assert [response.HasField("started") for response in responses] == [True] + [False] * (len(responses) - 1)
        assert [response.HasField("result") for response in responses] == [False] * (len(responses) - 1) + [True]
        assert "".join(token.token for response in responses for token in response.tokens) == "HEAD"


def test_the_command_says_words_and_draws_where_they_looked(server: ServeProcess, tmp_path: Path) -> None:
    picture = tmp_path / "looked.png"
    words = ("pronounce", "fed", "bad", "--url", server.target)

    plain = run_cuelight(*words)
    drawn = run_cuelight(*words, "--beam", "4", "--alternatives", "2", "--json", "--attention", str(picture))
    wrong = run_cuelight(*words, "box")

    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.splitlines() == [
        f"{word:<20} {math.pow(CERTAINTY, 4):6.1%}  {'-'.join(word.upper())}" for word in ("fed", "bad")
    ]
    assert drawn.returncode == 0, drawn.stderr
    lines = [json.loads(line) for line in drawn.stdout.splitlines() if line.startswith("{")]
    assert [line["word"] for line in lines] == ["fed", "fed", "bad", "bad"]
    assert lines[2]["tokens"] == ["B", "A", "D"]
    with Image.open(picture) as image:
        assert image.format == "PNG"
    assert wrong.returncode == 1
    assert "box: text: character 1 is 'o', which the model does not know" in wrong.stderr
    assert len(wrong.stdout.splitlines()) == 2


def test_what_is_transduced_can_be_seen_by_operators(server: ServeProcess) -> None:
    with Channel(server.target) as channel:
        check("decade", TextClient(channel).transduce("decade"))

    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()

    labels = '{model="copycat",version="1"}'
    found = dict(line.rsplit(" ", 1) for line in lines if line.startswith("cuelight_transduction"))
    assert float(found[f"cuelight_transduction_rows_total{labels}"]) >= len("decade") + 1
    assert float(found[f"cuelight_transduction_steps_total{labels}"]) >= len("decade") + 1
    assert float(found[f"cuelight_transductions_live{labels}"]) == 0
    assert float(found[f"cuelight_transductions_waiting{labels}"]) == 0


@pytest.mark.parametrize("front", FRONTS)
def test_a_model_replaced_meanwhile_fails_nobody(front: str, tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_copycat(models)
    explicit = ["--model-control-mode", "explicit", "--load-model", "*"]

    async def keep_calling(client: AsyncTextClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            check("abcdefgh", await client.transduce("abcdefgh", Decoding(beam_width=2)))

    async def scenario(target: str) -> None:
        stop = asyncio.Event()
        # A call that the server refused would show: nothing is made again.
        async with AsyncChannel(target, retries=RetryPolicy(max_attempts=1)) as channel:
            client = AsyncTextClient(channel)
            calling = [asyncio.ensure_future(keep_calling(client, stop)) for _ in range(8)]
            for version in range(2, 8):
                write_copycat(models, version=version)
                await asyncio.to_thread(load, target)
                assert (await client.transduce("abc")).model_version == version
            stop.set()
            await asyncio.gather(*calling)

    with running_server(models, tmp_path / "log", front=front, arguments=explicit) as running:
        asyncio.run(scenario(running.target))


def load(target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = inference_grpc.GRPCInferenceServiceStub(channel)
        stub.RepositoryModelLoad(inference.RepositoryModelLoadRequest(model_name="copycat"), timeout=60)
