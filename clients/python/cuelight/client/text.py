"""Texts in: embeddings, how alike texts and words are, tokens, and texts turned into other sequences."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cuelight.client import text_calls as calls
from cuelight.client.calls import Call
from cuelight.client.channel import Channel
from cuelight.client.text_values import (
    AttentionWeights,
    NearWord,
    SimilarText,
    TextEmbedding,
    TextToken,
    WordQuery,
    ranked,
)
from cuelight.client.transductions import GREEDY, TRANSDUCE_PATH, Decoding, OutputReader, OutputToken, Transduced
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["TextClient"]

Answer = TypeVar("Answer")


class TextClient:
    """Calls on one server, from any threads."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def embed(self, text: str, *, model: str = "", timeout_s: float | None = None) -> TextEmbedding:
        """Return a text's embedding. Raises: InvalidRequest for what is no text; otherwise as `embed_many`."""
        [embedding] = self.embed_many([text], model=model, timeout_s=timeout_s)
        return embedding

    def embed_many(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        refuse_long: bool = False,
        partial: bool = False,
        timeout_s: float | None = None,
    ) -> list[TextEmbedding]:
        """Return an embedding for each text, in their order; of a text that is too long, of its first tokens.

        With `refuse_long` such a text is a bad one. A bad text fails the call, or with `partial` brings its error in
        place of an embedding.

        Raises: InvalidRequest, NotFound, Overloaded, Unavailable, DeadlineExceeded, ServerError.
        """
        embeddings: list[TextEmbedding] = []
        for call in calls.embed_calls(texts, model, refuse_long=refuse_long, partial=partial):
            answered = self._answered(call, timeout_s)
            embeddings += answered
        return embeddings

    def attention(
        self,
        text: str,
        *,
        layers: Iterable[int] = (),
        mean_over_heads: bool = False,
        model: str = "",
        timeout_s: float | None = None,
    ) -> AttentionWeights:
        """Return how much each token looked at each other, in some layers (default: all), by a model that tells.

        Raises: Unsupported for a model that does not; otherwise as `embed_many`.
        """
        call = calls.attention_call(text, model, layers, mean_over_heads)
        embedding = self._answered(call, timeout_s)
        assert embedding.attention is not None, "it was asked for"
        return embedding.attention

    def similarity(self, first: str, second: str, *, model: str = "", timeout_s: float | None = None) -> float:
        """Return the cosine of two texts, -1 to 1."""
        [cosine] = self.similarities([(first, second)], model=model, timeout_s=timeout_s)
        return cosine

    def similarities(
        self, pairs: Iterable[tuple[str, str]], *, model: str = "", timeout_s: float | None = None
    ) -> list[float]:
        """Return the cosine of each pair of texts."""
        cosines: list[float] = []
        for call in calls.pair_calls(pairs, model):
            answered = self._answered(call, timeout_s)
            cosines += answered
        return cosines

    def similarity_matrix(
        self,
        texts: Sequence[str],
        others: Sequence[str] = (),
        *,
        model: str = "",
        timeout_s: float | None = None,
    ) -> NDArray[np.float32]:
        """Return the cosine of each text with each of `others`, or, without those, of the texts with each other.

        (texts, others) float32, in one call: at most 1,024 texts by the server's default.
        """
        return self._answered(calls.matrix_call(texts, others, model), timeout_s)

    def most_similar(
        self,
        text: str,
        candidates: Iterable[str],
        n: int = 10,
        *,
        model: str = "",
        timeout_s: float | None = None,
    ) -> list[SimilarText]:
        """Return the `n` candidates most like a text, best first; there may be any number of candidates."""
        known = list(candidates)
        embeddings = self.embed_many([text, *known], model=model, timeout_s=timeout_s)
        return ranked(known, embeddings, n)

    def nearest_words(
        self, query: str | WordQuery, n: int = 10, *, model: str = "", timeout_s: float | None = None
    ) -> tuple[NearWord, ...]:
        """Return the words nearest to one, or to a sum and difference of some, best first.

        Raises: NotFound for a word that the model does not know; otherwise as `embed_many`.
        """
        [words] = self._answered(calls.nearest_call([query], n, model), timeout_s)
        return words

    def tokenize(
        self, text: str, *, special: bool = True, model: str = "", timeout_s: float | None = None
    ) -> tuple[TextToken, ...]:
        """Return the tokens of a text, all of them; with those that frame it if `special`."""
        [call] = calls.token_calls([text], model, special)
        [tokens] = self._answered(call, timeout_s)
        return tokens

    def transduce(
        self, text: str, decoding: Decoding = GREEDY, *, model: str = "", timeout_s: float | None = None
    ) -> Transduced:
        """Return what a text becomes, such as the sounds of a word.

        Raises: InvalidRequest for what the model cannot take; Unsupported for what it does not offer; otherwise as
        `embed_many`.
        """
        reader = OutputReader()
        with closing(self._transduced(text, decoding, model, timeout_s)) as responses:
            for response in responses:
                for _ in reader.take(response):
                    pass
        return reader.finished()

    def transduce_stream(
        self, text: str, decoding: Decoding = GREEDY, *, model: str = "", timeout_s: float | None = None
    ) -> Iterator[OutputToken]:
        """Yield the tokens of the likeliest output as they are made; leaving the iteration stops the work.

        With a beam a token comes once no live hypothesis contradicts it. Raises: as `transduce`.
        """
        reader = OutputReader()
        with closing(self._transduced(text, decoding, model, timeout_s)) as responses:
            for response in responses:
                yield from reader.take(response)
        reader.finished()

    def _transduced(
        self, text: str, decoding: Decoding, model: str, timeout_s: float | None
    ) -> Generator[pb.TransduceResponse, None, None]:
        left_s = self._channel.timeout_s if timeout_s is None else timeout_s
        return self._channel.follow(TRANSDUCE_PATH, decoding.request(text, model), pb.TransduceResponse, left_s)

    def _answered(self, call: Call[Answer], timeout_s: float | None) -> Answer:
        return call.read(self._channel.call(call.path, call.request, call.response_type, timeout_s))
