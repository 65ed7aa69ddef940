"""The RPC `Transduce`: a text taken apart, encoded with others, decoded with others, and streamed as it is decoded."""

from collections.abc import AsyncGenerator, Sequence

import numpy as np

from cuelight.server.errors import InvalidRequest, Unsupported
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.rpc.context import RpcContext
from cuelight.server.text.models import VersionSource
from cuelight.server.text.transduction.companion import TransductionCompanion
from cuelight.server.text.transduction.facts import TransductionFacts
from cuelight.server.text.transduction.options import check_attention, search_of
from cuelight.server.text.transduction.search import Hypothesis, Token
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["TransductionServicer"]


class TransductionServicer:
    """Finds the model and joins its parts. Holds no state; lives on the event loop."""

    def __init__(self, versions: VersionSource) -> None:
        self._versions = versions

    async def Transduce(
        self, request: pb.TransduceRequest, context: RpcContext
    ) -> AsyncGenerator[pb.TransduceResponse, None]:
        """Stream an output; see the proto for its errors."""
        version, companion = self._find(request.model)
        facts = companion.facts
        check_attention(request, version.name, companion.has_attention)
        search = search_of(request, facts, companion.max_rows)
        symbols = facts.symbols(request.text)
        engine = companion.engine()
        # Before the encoder's work is spent on it.
        engine.check_room()
        source = np.array([[facts.source[symbol] for symbol in symbols]], np.int64)
        encoded = await version.infer({"source": source}, deadline_s=context.deadline())
        job = engine.submit(encoded, len(symbols), search, request.attention, context.deadline())
        started: pb.TransductionStarted | None = pb.TransductionStarted(
            model=version.name, model_version=version.version, source_tokens=symbols
        )
        try:
            async for news in job.updates():
                response = pb.TransduceResponse(tokens=[_token(token, facts) for token in news.tokens], started=started)
                started = None
                for one in news.found[: max(1, request.max_alternatives)]:
                    response.result.alternatives.append(_alternative(one, facts))
                yield response
        finally:
            engine.leave(job)

    def _find(self, name: str) -> tuple[ModelVersion, TransductionCompanion]:
        if name:
            version = self._versions.get(name)
            if not isinstance(version.companion, TransductionCompanion):
                raise InvalidRequest(f'model: "{name}" does not transduce text; {self._there_are()}')
            return version, version.companion
        found = self._all()
        if not found:
            raise Unsupported('no model that transduces text serves; export one with "cuelight export g2p_en"')
        return found[0]

    def _all(self) -> Sequence[tuple[ModelVersion, TransductionCompanion]]:
        pairs = [
            (version, version.companion)
            for version in self._versions.serving()
            if isinstance(version.companion, TransductionCompanion)
        ]
        return sorted(pairs, key=lambda pair: (pair[0].name, -pair[0].version))

    def _there_are(self) -> str:
        names = sorted({version.name for version, _ in self._all()})
        return f"there are {', '.join(names)}" if names else "none here does"


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
