"""What the text service counts, as Prometheus shows it, on both fronts."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from cuelight.text.v1 import text_pb2 as pb
from cuelight.text.v1 import text_pb2_grpc as pb_grpc
from tests.e2e.figures import Figures, scrape
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.server.text.text_models import write_encoder, write_words
from tests.transduction_models import write_copycat

OURS = ("cuelight_text", "cuelight_word", "cuelight_transductions_total")
LONG = "one two three four five six seven"


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("counts")
    write_encoder(folder / "models" / "encoder" / "1")
    write_words(folder / "models" / "words" / "1")
    write_copycat(folder / "models")
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


def texts_of(figures: Figures) -> dict[str, float]:
    """Return the figures of texts, by name and outcome."""
    return {
        " ".join((name, *(value for _, value in labels))): value
        for (name, labels), value in figures.items()
        if name.startswith(OURS)
    }


def moved(server: ServeProcess, call: Callable[[pb_grpc.TextServiceStub], Any]) -> dict[str, float]:
    """Return by how much which figures moved while a call was made, whether it failed or not."""
    before = texts_of(scrape(server))
    with grpc.insecure_channel(server.target) as channel, suppress(grpc.RpcError):
        call(pb_grpc.TextServiceStub(channel))
    after = texts_of(scrape(server))
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def embedded(texts: list[str], **options: Any) -> Callable[[pb_grpc.TextServiceStub], Any]:
    return lambda stub: stub.Embed(pb.EmbedRequest(texts=texts, **options))


def transduced(text: str, **options: Any) -> Callable[[pb_grpc.TextServiceStub], Any]:
    return lambda stub: list(stub.Transduce(pb.TransduceRequest(text=text, **options)))


def near(*words: str, partial: bool = False) -> Callable[[pb_grpc.TextServiceStub], Any]:
    queries = [pb.WordQuery(plus=[word]) for word in words]
    return lambda stub: stub.NearestWords(pb.NearestWordsRequest(queries=queries, partial=partial))


CALLS = [
    (embedded(["one", "one two"]), {"cuelight_texts_total embedded": 2, "cuelight_text_tokens_total": 7}),
    (
        embedded(["one", LONG, ""], partial=True),
        {
            "cuelight_texts_total embedded": 2,
            "cuelight_texts_total refused": 1,
            "cuelight_texts_truncated_total": 1,
            "cuelight_text_tokens_total": 3 + 8,
        },
    ),
    (embedded(["one", "", " "]), {"cuelight_texts_total refused": 2}),
    (embedded([]), {}),
    (
        lambda stub: stub.Similarity(pb.SimilarityRequest(texts=["one"], others=["two"])),
        {"cuelight_texts_total embedded": 2, "cuelight_text_tokens_total": 6},
    ),
    (
        lambda stub: stub.Tokenize(pb.TokenizeRequest(texts=["one", "two", LONG])),
        {"cuelight_texts_total tokenized": 3},
    ),
    (lambda stub: stub.Tokenize(pb.TokenizeRequest(texts=["one", " "])), {"cuelight_texts_total refused": 1}),
    (near("east", "north"), {"cuelight_word_queries_total answered": 2}),
    (
        near("east", "south", partial=True),
        {"cuelight_word_queries_total answered": 1, "cuelight_word_queries_total refused": 1},
    ),
    (near("south"), {"cuelight_word_queries_total refused": 1}),
    (transduced("cab"), {"cuelight_transductions_total complete": 1}),
    (transduced("cab", max_tokens=2), {"cuelight_transductions_total cut_off": 1}),
    (transduced("c4b"), {"cuelight_transductions_total refused": 1}),
]


@pytest.mark.parametrize(("call", "expected"), CALLS, ids=[str(number) for number in range(len(CALLS))])
def test_each_text_counts_once_by_what_became_of_it(
    server: ServeProcess, call: Callable[[pb_grpc.TextServiceStub], Any], expected: dict[str, float]
) -> None:
    assert moved(server, call) == expected
