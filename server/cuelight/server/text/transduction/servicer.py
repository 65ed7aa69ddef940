"""The RPC `Transduce`: a text taken apart, encoded with others, decoded with others, and streamed as it is decoded."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

import numpy as np

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.context import RpcContext
from cuelight.server.text.models import TextModels
from cuelight.server.text.transduction.facts import TransductionFacts
from cuelight.server.text.transduction.options import check_attention, search_of
from cuelight.server.text.transduction.search import Hypothesis, Token
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["TransductionServicer"]


class TransductionServicer:
    """Finds the model and joins its parts. Holds no state but what it counts; lives on the event loop."""

    def __init__(self, models: TextModels, ended: Counter[str]) -> None:
        """`ended` counts how texts ended: `complete`, `cut_off`, `refused`, or `left` before the end."""
        self._models = models
        self._ended = ended

    async def Transduce(
        self, request: pb.TransduceRequest, context: RpcContext
    ) -> AsyncGenerator[pb.TransduceResponse, None]:
        """Stream an output; see the proto for its errors."""
        version, companion = self._models.transducer(request.model, attention=request.attention)
        facts = companion.facts
        check_attention(request, version.name, companion.has_attention)
        search = search_of(request, facts, companion.max_rows)
        try:
            symbols = facts.symbols(request.text)
        except InvalidRequest:
            self._ended["refused"] += 1
            raise
        engine = companion.engine()
        # Before the encoder's work is spent on it.
        engine.check_room()
        with engine.visit(), self._counted() as ended:
            source = np.array([[facts.source[symbol] for symbol in symbols]], np.int64)
            encoded = await version.infer({"source": source}, deadline_s=context.deadline())
            job = engine.submit(encoded, len(symbols), search, request.attention, context.deadline())
            started: pb.TransductionStarted | None = pb.TransductionStarted(
                model=version.name, model_version=version.version, source_tokens=symbols
            )
            try:
                async for news in job.updates():
                    tokens = [_token(token, facts) for token in news.tokens]
                    response = pb.TransduceResponse(tokens=tokens, started=started)
                    started = None
                    if news.found:
                        ended("complete" if news.found[0].complete else "cut_off")
                    for one in news.found[: max(1, request.max_alternatives)]:
                        response.result.alternatives.append(_alternative(one, facts))
                    yield response
            finally:
                engine.leave(job)

    @contextmanager
    def _counted(self) -> Iterator[Callable[[str], None]]:
        """Count how a text ends: as told, or `left` where nothing is."""
        outcome = "left"

        def ended(how: str) -> None:
            nonlocal outcome
            outcome = how

        try:
            yield ended
        finally:
            self._ended[outcome] += 1


def _token(token: Token, facts: TransductionFacts) -> pb.OutputToken:
    return pb.OutputToken(
        token=facts.target[token.number],
        log_probability=token.log_probability,
        attention=None if token.attention is None else token.attention.tolist(),
    )


def _alternative(one: Hypothesis, facts: TransductionFacts) -> pb.Transduction:
    return pb.Transduction(
        text=facts.joined([token.number for token in one.tokens]),
        tokens=[_token(token, facts) for token in one.tokens],
        log_probability=one.score,
        end=pb.Transduction.COMPLETE if one.complete else pb.Transduction.MAX_TOKENS,
    )
