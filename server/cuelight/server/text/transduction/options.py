"""The options of a request, checked against what is allowed and what the model offers."""

from cuelight.server.errors import InvalidRequest, Unsupported
from cuelight.server.text.transduction.beam import BeamSearch
from cuelight.server.text.transduction.facts import TransductionFacts
from cuelight.server.text.transduction.greedy import GreedySearch
from cuelight.server.text.transduction.search import Search
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["MAX_BEAM_WIDTH", "check_attention", "search_of"]

MAX_BEAM_WIDTH = 32
_MAX_LENGTH_PENALTY = 2.0


def search_of(request: pb.TransduceRequest, facts: TransductionFacts, max_rows: int) -> Search:
    """Return the search that was asked for. Raises: InvalidRequest naming the field."""
    widest = min(MAX_BEAM_WIDTH, max_rows)
    if not 0 <= request.beam_width <= widest:
        raise InvalidRequest(f"beam_width: expected 0 to {widest}, got {request.beam_width}")
    if not 0 <= request.max_tokens <= facts.max_tokens:
        raise InvalidRequest(f"max_tokens: expected 0 to {facts.max_tokens}, got {request.max_tokens}")
    width = max(1, request.beam_width)
    if not 0 <= request.max_alternatives <= width:
        raise InvalidRequest(
            f"max_alternatives: expected 0 to {width}, the beam's width, got {request.max_alternatives}"
        )
    # Written so that NaN is refused, too.
    if not 0 <= request.length_penalty <= _MAX_LENGTH_PENALTY:
        raise InvalidRequest(f"length_penalty: expected 0 to {_MAX_LENGTH_PENALTY:g}, got {request.length_penalty:g}")
    if width == 1 and request.length_penalty:
        raise InvalidRequest(f"length_penalty: {request.length_penalty:g} needs a beam_width of 2 or more")
    most = request.max_tokens or facts.max_tokens
    if width == 1:
        return GreedySearch(facts.start, facts.end, most)
    return BeamSearch(facts.start, facts.end, most, width, request.length_penalty)


def check_attention(request: pb.TransduceRequest, name: str, has_attention: bool) -> None:
    """Raise Unsupported when attention is asked of a model that gives none."""
    if request.attention and not has_attention:
        raise Unsupported(f'attention: model "{name}" gives none')
