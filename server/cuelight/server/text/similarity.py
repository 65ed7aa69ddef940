"""What a request compares with what, and the cosines: plain functions of the request and of vectors of length 1.

The texts of a request are numbered: of pairs first, second, first, second ...; else `texts`, then `others`.
"""

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["compared", "count_of_texts", "named_texts", "sizes_of"]

Vectors = NDArray[np.float32]


def count_of_texts(request: pb.SimilarityRequest) -> int:
    """Return how many texts a request has.

    Raises: InvalidRequest for pairs beside texts, for others without texts, and for none of them.
    """
    if request.pairs and (request.texts or request.others):
        raise InvalidRequest("pairs: expected pairs or texts, got both")
    if request.others and not request.texts:
        raise InvalidRequest("others: expected texts to compare them with, got none")
    if not request.pairs and not request.texts:
        raise InvalidRequest("texts: expected pairs or texts, got neither")
    return 2 * len(request.pairs) + len(request.texts) + len(request.others)


def named_texts(request: pb.SimilarityRequest) -> list[tuple[str, str]]:
    """Return the texts in the order of their numbers, each with the name of its place."""
    named = [
        (f"pairs[{index}].{place}", text)
        for index, pair in enumerate(request.pairs)
        for place, text in (("first", pair.first), ("second", pair.second))
    ]
    named += [(f"texts[{index}]", text) for index, text in enumerate(request.texts)]
    return named + [(f"others[{index}]", text) for index, text in enumerate(request.others)]


def sizes_of(request: pb.SimilarityRequest) -> tuple[int, int]:
    """Return rows and columns of the answer."""
    if request.pairs:
        return len(request.pairs), 1
    return len(request.texts), len(request.others or request.texts)


def compared(request: pb.SimilarityRequest, vectors: Vectors) -> Vectors:
    """Return the cosines, (rows, columns); `vectors` is (texts, width), each of length 1, by number."""
    if request.pairs:
        cosines: Vectors = np.einsum("nw,nw->n", vectors[0::2], vectors[1::2])[:, np.newaxis]
    else:
        texts, others = vectors[: len(request.texts)], vectors[len(request.texts) :]
        cosines = texts @ (others if request.others else texts).T
    return np.clip(cosines, -1.0, 1.0)
