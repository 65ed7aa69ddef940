"""What a request for near words asks, each field checked."""

from cuelight.server.errors import InvalidRequest
from cuelight.server.text.words import WordQuery
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["count_of", "query_of"]

_MAX_QUERIES = 256
_MAX_QUERY_WORDS = 64
_MAX_NEAR_WORDS = 1_000
_DEFAULT_NEAR_WORDS = 10


def count_of(request: pb.NearestWordsRequest) -> int:
    """Return how many words each query is answered with.

    Raises: InvalidRequest when that is out of range, or there are no queries or too many.
    """
    if not 1 <= len(request.queries) <= _MAX_QUERIES:
        raise InvalidRequest(f"queries: expected 1 to {_MAX_QUERIES}, got {len(request.queries)}")
    if not 0 <= request.count <= _MAX_NEAR_WORDS:
        raise InvalidRequest(f"count: expected 0 to {_MAX_NEAR_WORDS}, got {request.count}")
    return request.count or _DEFAULT_NEAR_WORDS


def query_of(query: pb.WordQuery, index: int) -> WordQuery:
    """Return a query. Raises: InvalidRequest where it has no words, or too many."""
    count = len(query.plus) + len(query.minus)
    if not 1 <= count <= _MAX_QUERY_WORDS:
        raise InvalidRequest(f"queries[{index}]: expected 1 to {_MAX_QUERY_WORDS} words, got {count}")
    return WordQuery(query.plus, query.minus, f"queries[{index}]")
