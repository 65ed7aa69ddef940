"""What the text service answers, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from cuelight.client.errors import CuelightClientError, error_of_status
from cuelight.text.v1 import text_pb2 as pb

__all__ = [
    "AttentionWeights",
    "NearWord",
    "SimilarText",
    "TextEmbedding",
    "TextToken",
    "WordQuery",
    "embeddings_from",
    "matrix_from",
    "near_words_from",
    "ranked",
    "tokens_from",
]

_STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_NO_VALUES = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionWeights:
    """How much each token of a text looked at each other one.

    `weights` is (layers, heads, tokens, tokens) float32, of the `layers` named; one head where heads were averaged. A
    row, the token that looks, sums to 1.
    """

    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbedding:
    """A text as a vector. `values` is (dimension,) float32, empty where there is an `error`."""

    values: NDArray[np.float32]
    token_count: int
    truncated: bool
    model: str
    attention: AttentionWeights | None = None
    error: CuelightClientError | None = None


@dataclass(frozen=True, slots=True)
class SimilarText:
    """One of the texts that were compared: its place among them, and its cosine with what was asked for."""

    index: int
    text: str
    similarity: float


@dataclass(frozen=True, slots=True)
class WordQuery:
    """A place among words: near to some, far from others."""

    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NearWord:
    """A word and its cosine with the query."""

    word: str
    similarity: float


@dataclass(frozen=True, slots=True)
class TextToken:
    """One token: text[start:end] is what it stands for; a special one frames the text and stands for nothing."""

    id: int
    token: str
    start: int
    end: int
    special: bool


def embeddings_from(response: pb.EmbedResponse) -> list[TextEmbedding]:
    """Return the embeddings of an answer, in its order."""
    return [_embedding_from(embedding, response.model) for embedding in response.embeddings]


def matrix_from(response: pb.SimilarityResponse) -> NDArray[np.float32]:
    """Return the cosines as (rows, columns) float32."""
    return _floats(response.similarities).reshape(response.rows, response.columns)


def near_words_from(response: pb.NearestWordsResponse) -> list[tuple[NearWord, ...]]:
    """Return the words near to each query, best first."""
    return [tuple(NearWord(word.word, word.similarity) for word in result.words) for result in response.results]


def ranked(candidates: Sequence[str], embeddings: Sequence[TextEmbedding], n: int) -> list[SimilarText]:
    """Return the `n` candidates most like a text, best first, out of its embedding and then theirs."""
    if not candidates or n < 1:
        return []
    vectors = np.stack([embedding.values for embedding in embeddings])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    cosines = vectors[1:] @ vectors[0]
    best = np.argsort(-cosines, kind="stable")[:n]
    return [SimilarText(int(index), candidates[index], float(cosines[index])) for index in best]


def tokens_from(response: pb.TokenizeResponse) -> list[tuple[TextToken, ...]]:
    """Return the tokens of each text, in order."""
    return [
        tuple(TextToken(token.id, token.token, token.start, token.end, token.special) for token in text.tokens)
        for text in response.texts
    ]


def _embedding_from(embedding: pb.Embedding, model: str) -> TextEmbedding:
    if embedding.HasField("error"):
        error = error_of_status(_STATUS_NAMES.get(embedding.error.code, ""), embedding.error.message)
        return TextEmbedding(_NO_VALUES, 0, False, model, error=error)
    attention = _attention_from(embedding.attention) if embedding.HasField("attention") else None
    return TextEmbedding(
        _floats(embedding.values), embedding.token_count, embedding.truncated, model, attention=attention
    )


def _attention_from(attention: pb.Attention) -> AttentionWeights:
    size = len(attention.tokens)
    weights = _floats(attention.weights).reshape(len(attention.layers), attention.heads, size, size)
    return AttentionWeights(tuple(attention.tokens), tuple(attention.layers), weights)


def _floats(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)
