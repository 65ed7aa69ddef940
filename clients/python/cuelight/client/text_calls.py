"""The text service's calls as values. Both clients make the same ones."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.client.calls import Call, pieces_of
from cuelight.client.text_values import (
    NearWord,
    TextEmbedding,
    TextToken,
    WordQuery,
    embeddings_from,
    matrix_from,
    near_words_from,
    tokens_from,
)
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["attention_call", "embed_calls", "matrix_call", "nearest_call", "pair_calls", "token_calls"]

_SERVICE = "/cuelight.text.v1.TextService"
_TEXTS_A_CALL = 256
"""Of the 1,024 that the server's default allows: more in a call would be no faster, and would be lost together."""
_BYTES_A_CALL = 1_000_000


def embed_calls(
    texts: Iterable[str], model: str, *, refuse_long: bool, partial: bool
) -> Iterator[Call[list[TextEmbedding]]]:
    """Yield the calls for the embeddings of all texts, in their order."""
    for cut in _text_pieces(texts):
        request = pb.EmbedRequest(model=model, texts=cut, overlong=_overlong(refuse_long), partial=partial)
        yield Call(f"{_SERVICE}/Embed", request, pb.EmbedResponse, embeddings_from)


def attention_call(text: str, model: str, layers: Iterable[int], mean_over_heads: bool) -> Call[TextEmbedding]:
    """Return the call for a text's attention weights."""
    options = pb.AttentionOptions(layers=layers, mean_over_heads=mean_over_heads)
    request = pb.EmbedRequest(model=model, texts=[text], attention=options)
    return Call(f"{_SERVICE}/Embed", request, pb.EmbedResponse, lambda response: embeddings_from(response)[0])


def pair_calls(pairs: Iterable[tuple[str, str]], model: str) -> Iterator[Call[list[float]]]:
    """Yield the calls for how alike the two texts of each pair are, in their order."""
    for cut in pieces_of(pairs, _TEXTS_A_CALL // 2):
        made = [pb.TextPair(first=first, second=second) for first, second in cut]
        request = pb.SimilarityRequest(model=model, pairs=made)
        yield Call(f"{_SERVICE}/Similarity", request, pb.SimilarityResponse, _column)


def matrix_call(texts: Sequence[str], others: Sequence[str], model: str) -> Call[NDArray[np.float32]]:
    """Return the call for how alike each text is to each of the others, or, without those, to each text."""
    request = pb.SimilarityRequest(model=model, texts=texts, others=others)
    return Call(f"{_SERVICE}/Similarity", request, pb.SimilarityResponse, matrix_from)


def nearest_call(queries: Iterable[str | WordQuery], n: int, model: str) -> Call[list[tuple[NearWord, ...]]]:
    """Return the call for the words near to each query."""
    known = (WordQuery((query,)) if isinstance(query, str) else query for query in queries)
    made = [pb.WordQuery(plus=query.plus, minus=query.minus) for query in known]
    request = pb.NearestWordsRequest(model=model, queries=made, count=n)
    return Call(f"{_SERVICE}/NearestWords", request, pb.NearestWordsResponse, near_words_from)


def token_calls(texts: Iterable[str], model: str, special: bool) -> Iterator[Call[list[tuple[TextToken, ...]]]]:
    """Yield the calls for the tokens of all texts, in their order."""
    for cut in _text_pieces(texts):
        request = pb.TokenizeRequest(model=model, texts=cut, without_special_tokens=not special)
        yield Call(f"{_SERVICE}/Tokenize", request, pb.TokenizeResponse, tokens_from)


def _text_pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts, as many at a time as go into a call; one that is too large goes alone."""
    for some in pieces_of(texts, _TEXTS_A_CALL):
        cut: list[str] = []
        size_bytes = 0
        for text in some:
            more_bytes = len(text.encode())
            if cut and size_bytes + more_bytes > _BYTES_A_CALL:
                yield cut
                cut, size_bytes = [], 0
            cut.append(text)
            size_bytes += more_bytes
        yield cut


def _overlong(refuse: bool) -> pb.OverlongText.ValueType:
    return pb.REFUSE if refuse else pb.TRUNCATE


def _column(response: pb.SimilarityResponse) -> list[float]:
    return list(response.similarities)
