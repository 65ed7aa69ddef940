"""TextService over the wire, on both fronts: answers that are known by formula, and what callers send wrongly."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from cuelight.speech.v1 import speech_pb2
from cuelight.speech.v1 import speech_pb2_grpc as speech_grpc
from cuelight.text.v1 import text_pb2 as pb
from cuelight.text.v1 import text_pb2_grpc as pb_grpc
from tests.serve_process import FRONTS, ServeProcess, running_server
from tests.server.text.text_models import HEADS, LAYERS, WIDTH, WORDS, embedding_of, write_encoder, write_words

CODES = grpc.StatusCode
MEGABYTE = "one " * 250_000


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    folder = tmp_path_factory.mktemp("text")
    write_encoder(folder / "models" / "encoder" / "1")
    write_encoder(folder / "models" / "attentive" / "1", attention=True)
    write_words(folder / "models" / "words" / "1")
    with running_server(folder / "models", folder / "log", front=request.param) as running:
        yield running


@pytest.fixture
def stub(server: ServeProcess) -> Iterator[pb_grpc.TextServiceStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield pb_grpc.TextServiceStub(channel)


def failure(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details() or ""


def mixed_texts(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[4:], rng.integers(1, 12))) for _ in range(count)]


def test_embeddings_are_those_of_the_formula_in_the_texts_order(stub: pb_grpc.TextServiceStub) -> None:
    texts = mixed_texts(50, 1)

    response = stub.Embed(pb.EmbedRequest(model="encoder", texts=texts))

    assert (response.model, response.model_version, response.dimension) == ("encoder", 1, WIDTH)
    got = np.array([embedding.values for embedding in response.embeddings])
    np.testing.assert_allclose(got, [embedding_of(text) for text in texts], atol=1e-5)
    assert [embedding.token_count for embedding in response.embeddings] == [
        min(8, len(text.split()) + 2) for text in texts
    ]
    assert [embedding.truncated for embedding in response.embeddings] == [len(text.split()) > 6 for text in texts]


def test_callers_at_once_get_what_each_gets_alone(stub: pb_grpc.TextServiceStub) -> None:
    texts = mixed_texts(200, 2)

    with ThreadPoolExecutor(32) as callers:
        answers = list(callers.map(lambda text: stub.Embed(pb.EmbedRequest(model="encoder", texts=[text])), texts))

    got = np.array([answer.embeddings[0].values for answer in answers])
    np.testing.assert_allclose(got, [embedding_of(text) for text in texts], atol=1e-5)


def test_callers_that_leave_harm_nobody(stub: pb_grpc.TextServiceStub) -> None:
    texts = mixed_texts(400, 3)

    calls = [stub.Embed.future(pb.EmbedRequest(model="encoder", texts=[text] * 50)) for text in texts]
    for call in calls[::2]:
        call.cancel()
    answers = [call.result() for call in calls[1::2]]

    for text, answer in zip(texts[1::2], answers, strict=True):
        got = np.array([embedding.values for embedding in answer.embeddings])
        np.testing.assert_allclose(got, [embedding_of(text)] * 50, atol=1e-5)


def test_no_model_named_takes_the_one_that_embeds_without_giving_attention(stub: pb_grpc.TextServiceStub) -> None:
    plain = stub.Embed(pb.EmbedRequest(texts=["one"]))
    attentive = stub.Embed(pb.EmbedRequest(texts=["one"], attention=pb.AttentionOptions()))

    assert (plain.model, attentive.model) == ("encoder", "attentive")


def test_attention_has_the_size_of_its_own_text_whoever_shares_the_batch(stub: pb_grpc.TextServiceStub) -> None:
    options = pb.AttentionOptions(layers=[2, 0])

    texts = ["one", "one two three", "one two three four"]  # the last two share a batch

    response = stub.Embed(pb.EmbedRequest(texts=texts, attention=options))

    for embedding, text in zip(response.embeddings, texts, strict=True):
        tokens = ["[CLS]", *text.split(), "[SEP]"]
        attention = embedding.attention
        assert (list(attention.tokens), list(attention.layers), attention.heads) == (tokens, [2, 0], HEADS)
        assert list(attention.weights) == pytest.approx([1 / len(tokens)] * (2 * HEADS * len(tokens) ** 2))


def test_attention_of_all_layers_averaged_over_heads(stub: pb_grpc.TextServiceStub) -> None:
    options = pb.AttentionOptions(mean_over_heads=True)

    attention = stub.Embed(pb.EmbedRequest(texts=["one two"], attention=options)).embeddings[0].attention

    assert (list(attention.layers), attention.heads) == (list(range(LAYERS)), 1)
    assert list(attention.weights) == pytest.approx([0.25] * (LAYERS * 16))


def test_a_bad_text_among_others_keeps_its_place_where_that_is_asked_for(stub: pb_grpc.TextServiceStub) -> None:
    texts = ["one", "", "two", "one two three four five six seven"]

    response = stub.Embed(pb.EmbedRequest(model="encoder", texts=texts, partial=True, overlong=pb.REFUSE))

    good = [np.array(response.embeddings[index].values) for index in (0, 2)]
    np.testing.assert_allclose(good, [embedding_of("one"), embedding_of("two")], atol=1e-5)
    assert [(error.code, error.message) for error in (response.embeddings[index].error for index in (1, 3))] == [
        (3, "texts[1]: expected a text, got an empty one"),
        (3, "texts[3]: expected at most 8 tokens, got 9"),
    ]
    assert not response.embeddings[1].values


def test_a_call_of_bad_texts_alone_has_an_error_for_each(stub: pb_grpc.TextServiceStub) -> None:
    response = stub.Embed(pb.EmbedRequest(texts=["", " "], partial=True))

    assert [embedding.error.code for embedding in response.embeddings] == [3, 3]


BAD = [
    (pb.EmbedRequest(), "texts: expected at least one text, got none"),
    (pb.EmbedRequest(texts=["one", ""]), "texts[1]: expected a text, got an empty one"),
    (pb.EmbedRequest(texts=["", "one", " "]), "texts[0]: expected a text, got an empty one (and 1 more like it)"),
    (pb.EmbedRequest(texts=[MEGABYTE]), "texts[0]: expected at most 100000 bytes, got 1000000"),
    (pb.EmbedRequest(texts=[MEGABYTE] * 3), "texts: expected at most 2000000 bytes in a call, got 3000000"),
    (pb.EmbedRequest(texts=["one"] * 1025), "texts: expected at most 1024 in a call, got 1025"),
    (
        pb.EmbedRequest(texts=["one two three four five six seven"], overlong=pb.REFUSE),
        "texts[0]: expected at most 8 tokens, got 9",
    ),
    (pb.EmbedRequest(texts=["one"], overlong=7), "overlong: got 7, expected TRUNCATE or REFUSE"),  # type: ignore[arg-type]
    (
        pb.EmbedRequest(model="words", texts=["one"]),
        'model: "words" does not embed text; there are attentive, encoder',
    ),
    (
        pb.EmbedRequest(texts=["one"], attention=pb.AttentionOptions(layers=[3])),
        "attention.layers[0]: expected 0 to 2, got 3",
    ),
]


@pytest.mark.parametrize(("request_", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_what_is_wrong_is_named(stub: pb_grpc.TextServiceStub, request_: pb.EmbedRequest, said: str) -> None:
    assert failure(lambda: stub.Embed(request_)) == (CODES.INVALID_ARGUMENT, said)


def test_a_model_that_is_not_there_or_gives_no_attention(stub: pb_grpc.TextServiceStub) -> None:
    attention = pb.AttentionOptions()

    unknown = failure(lambda: stub.Embed(pb.EmbedRequest(model="nothing", texts=["one"])))
    without = failure(lambda: stub.Embed(pb.EmbedRequest(model="encoder", texts=["one"], attention=attention)))

    assert unknown[0] is CODES.NOT_FOUND and '"nothing"' in unknown[1]
    assert without == (CODES.UNIMPLEMENTED, 'attention: model "encoder" gives none; there are attentive')


def test_a_text_that_is_not_utf_8_is_named(server: ServeProcess) -> None:
    # Field 2 is `texts`; a client in a language without checked strings can send this.
    body = b"\x12\x03one" + b"\x12\x04caf\xe9"
    with grpc.insecure_channel(server.target) as channel:
        embed: Any = channel.unary_unary("/cuelight.text.v1.TextService/Embed")

        said = failure(lambda: embed(body))

    assert said == (CODES.INVALID_ARGUMENT, "texts[1]: expected UTF-8, got byte 0xe9 at 3")


def test_texts_are_compared_by_pairs_and_with_each_other(stub: pb_grpc.TextServiceStub) -> None:
    texts = ["one two", "three", "four five six"]
    vectors = np.stack([embedding_of(text) for text in texts])

    pair = stub.Similarity(pb.SimilarityRequest(model="encoder", pairs=[pb.TextPair(first=texts[0], second=texts[2])]))
    square = stub.Similarity(pb.SimilarityRequest(model="encoder", texts=texts))
    oblong = stub.Similarity(pb.SimilarityRequest(model="encoder", texts=texts[:1], others=texts[1:]))

    assert list(pair.similarities) == pytest.approx([float(vectors[0] @ vectors[2])], abs=1e-5)
    np.testing.assert_allclose(np.reshape(square.similarities, (3, 3)), vectors @ vectors.T, atol=1e-5)
    np.testing.assert_allclose(np.reshape(oblong.similarities, (1, 2)), vectors[:1] @ vectors[1:].T, atol=1e-5)
    assert (oblong.rows, oblong.columns, square.rows, square.columns) == (1, 2, 3, 3)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (pb.SimilarityRequest(), "texts: expected pairs or texts, got neither"),
        (pb.SimilarityRequest(texts=["one"], pairs=[pb.TextPair()]), "pairs: expected pairs or texts, got both"),
        (pb.SimilarityRequest(others=["one"]), "others: expected texts to compare them with, got none"),
        (
            pb.SimilarityRequest(pairs=[pb.TextPair(first="one", second=" ")]),
            "pairs[0].second: expected a text, got nothing but white space",
        ),
        (pb.SimilarityRequest(pairs=[pb.TextPair()] * 513), "texts: expected at most 1024 in a call, got 1026"),
        (pb.SimilarityRequest(texts=["one"], others=[""] * 1024), "texts: expected at most 1024 in a call, got 1025"),
        (pb.SimilarityRequest(texts=["one"], others=[""]), "others[0]: expected a text, got an empty one"),
    ],
)
def test_what_cannot_be_compared_is_named(
    stub: pb_grpc.TextServiceStub, request_: pb.SimilarityRequest, said: str
) -> None:
    assert failure(lambda: stub.Similarity(request_)) == (CODES.INVALID_ARGUMENT, said)


def test_a_comparison_says_which_texts_were_cut_off(stub: pb_grpc.TextServiceStub) -> None:
    long = "one two three four five six seven"

    response = stub.Similarity(pb.SimilarityRequest(model="encoder", texts=["one", long], others=[long]))

    assert list(response.truncated) == ["texts[1]", "others[0]"]


def test_near_words_come_best_first(stub: pb_grpc.TextServiceStub) -> None:
    queries = [pb.WordQuery(plus=["east"]), pb.WordQuery(plus=["northeast"], minus=["north", "west"])]

    response = stub.NearestWords(pb.NearestWordsRequest(queries=queries, count=2))

    assert (response.model, [[word.word for word in result.words] for result in response.results]) == (
        "words",
        [["northeast", "north"], ["east", "nothing"]],
    )
    assert response.results[0].words[0].similarity == pytest.approx(np.sqrt(0.5))


def test_a_query_that_cannot_be_answered_keeps_its_place_where_that_is_asked_for(
    stub: pb_grpc.TextServiceStub,
) -> None:
    queries = [pb.WordQuery(plus=["south"]), pb.WordQuery(plus=["east"]), pb.WordQuery()]

    response = stub.NearestWords(pb.NearestWordsRequest(queries=queries, partial=True))

    assert [(result.error.code, len(result.words)) for result in response.results] == [(5, 0), (0, 4), (3, 0)]


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (pb.NearestWordsRequest(), CODES.INVALID_ARGUMENT, "queries: expected 1 to 256, got 0"),
        (
            pb.NearestWordsRequest(queries=[pb.WordQuery(plus=["south"])]),
            CODES.NOT_FOUND,
            'queries[0].plus[0]: no word "south" among the 5 of model "words"',
        ),
        (
            pb.NearestWordsRequest(queries=[pb.WordQuery(plus=["east"])], count=1001),
            CODES.INVALID_ARGUMENT,
            "count: expected 0 to 1000, got 1001",
        ),
        (
            pb.NearestWordsRequest(queries=[pb.WordQuery(plus=["east"] * 65)]),
            CODES.INVALID_ARGUMENT,
            "queries[0]: expected 1 to 64 words, got 65",
        ),
        (
            pb.NearestWordsRequest(model="encoder", queries=[pb.WordQuery(plus=["east"])]),
            CODES.INVALID_ARGUMENT,
            'model: "encoder" does not embed words; there are words',
        ),
    ],
)
def test_a_question_for_words_that_cannot_be_is_named(
    stub: pb_grpc.TextServiceStub, request_: pb.NearestWordsRequest, code: grpc.StatusCode, said: str
) -> None:
    assert failure(lambda: stub.NearestWords(request_)) == (code, said)


def test_tokens_are_all_there_with_their_places(stub: pb_grpc.TextServiceStub) -> None:
    text = "one 😀 two three four five six seven"

    response = stub.Tokenize(pb.TokenizeRequest(model="encoder", texts=[text], offset_unit=pb.UTF16_UNITS))

    tokens = response.texts[0].tokens
    units = text.encode("utf-16-le")
    assert response.max_tokens == 8
    assert [token.token for token in tokens] == ["[CLS]", "one", "[UNK]", *text.split()[2:], "[SEP]"]
    assert [units[2 * token.start : 2 * token.end].decode("utf-16-le") for token in tokens[1:-1]] == text.split()
    assert [token.special for token in tokens] == [True, *[False] * 8, True]
    assert [token.id for token in tokens[:3]] == [2, WORDS.index("one"), 1]


def test_what_cannot_be_taken_apart_is_named(stub: pb_grpc.TextServiceStub) -> None:
    empty = failure(lambda: stub.Tokenize(pb.TokenizeRequest(texts=["one", ""])))
    words = failure(lambda: stub.Tokenize(pb.TokenizeRequest(model="words", texts=["one"])))

    assert empty == (CODES.INVALID_ARGUMENT, "texts[1]: expected a text, got an empty one")
    assert words[0] is CODES.INVALID_ARGUMENT


def test_a_long_text_is_taken_apart_beside_the_loop(stub: pb_grpc.TextServiceStub) -> None:
    text = "one two " * 10_000

    response = stub.Tokenize(pb.TokenizeRequest(model="encoder", texts=[text]))

    assert len(response.texts[0].tokens) == 20_002
    assert response.texts[0].tokens[-2].end == len(text) - 1


def test_models_of_text_are_none_of_speech(server: ServeProcess) -> None:
    with grpc.insecure_channel(server.target) as channel:
        speech = speech_grpc.SpeechServiceStub(channel)

        assert not speech.ListModels(speech_pb2.ListModelsRequest()).models
        first = speech_pb2.RecognizeRequest(config=speech_pb2.RecognitionConfig(model="encoder"))
        code, said = failure(lambda: list(speech.Recognize(iter([first]))))

    assert (code, said) == (CODES.INVALID_ARGUMENT, 'model: "encoder" does not recognize speech; none here does')


def test_a_server_without_models_of_text_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with running_server(tmp_path / "models", tmp_path / "log") as server, grpc.insecure_channel(server.target) as bare:
        stub = pb_grpc.TextServiceStub(bare)

        said = [
            failure(lambda: stub.Embed(pb.EmbedRequest(texts=["one"]))),
            failure(lambda: stub.NearestWords(pb.NearestWordsRequest(queries=[pb.WordQuery(plus=["east"])]))),
        ]

    assert said == [
        (CODES.NOT_FOUND, 'no model that embeds text serves; export one with "cuelight export minilm_l6_v2"'),
        (CODES.NOT_FOUND, 'no model that embeds words serves; export one with "cuelight export glove_6b_50d"'),
    ]
