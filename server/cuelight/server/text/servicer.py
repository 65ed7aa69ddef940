"""TextService's calls but `Transduce`: embeddings, similarity, words near to words, tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.config import TextConfig
from cuelight.server.errors import CuelightError, InvalidRequest, NotFound
from cuelight.server.rpc.context import RpcContext
from cuelight.server.text.attention import attention_choice, without_attention
from cuelight.server.text.counts import TextCounts
from cuelight.server.text.embedding import outputs_of
from cuelight.server.text.encoder import EMBEDDING, EncoderCompanion
from cuelight.server.text.floats import put_floats
from cuelight.server.text.messages import add_embedding, add_near_words, add_tokens
from cuelight.server.text.models import TextModels
from cuelight.server.text.reading import Reading, read_texts
from cuelight.server.text.similarity import compared, count_of_texts, named_texts, sizes_of
from cuelight.server.text.texts import check_call, check_count, check_text
from cuelight.server.text.word_queries import count_of, query_of
from cuelight.server.text.work_pool import WorkPool
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["TextServicer"]

Vectors = NDArray[np.float32]


class TextServicer:
    """Holds nothing of its own between calls but what it counts; lives on the event loop."""

    def __init__(self, models: TextModels, pool: WorkPool, limits: TextConfig, counts: TextCounts) -> None:
        self._models = models
        self._pool = pool
        self._limits = limits
        self._counts = counts

    async def Embed(self, request: pb.EmbedRequest, context: RpcContext) -> pb.EmbedResponse:
        """Embed texts; see the proto for its errors."""
        asks = request.HasField("attention")
        version, encoder = self._models.encoder(request.model, attention=asks)
        choice = None
        if asks:
            others = self._models.giving_attention()
            choice = attention_choice(request.attention, encoder, version.name, others)
        check_count(len(request.texts), self._limits)
        named = [(f"texts[{index}]", text) for index, text in enumerate(request.texts)]
        with encoder.in_use():
            reading = await self._read(named, encoder, request.overlong)
            if not request.partial:
                reading.raise_first()
            if choice is not None:
                choice.check([len(text.ids) for text in reading.texts.values()])
            keep = choice.kept if choice is not None else without_attention
            outputs = await outputs_of(version, encoder, reading.texts, context.deadline(), keep)
        self._counts.embed(reading)
        dimension = max((len(output[EMBEDDING]) for output in outputs.values()), default=0)
        response = pb.EmbedResponse(model=version.name, model_version=version.version, dimension=dimension)
        for index in range(len(named)):
            add_embedding(response, index, reading, outputs, encoder, choice)
        return response

    async def Similarity(self, request: pb.SimilarityRequest, context: RpcContext) -> pb.SimilarityResponse:
        """Compare texts; see the proto for its errors."""
        version, encoder = self._models.encoder(request.model)
        check_count(count_of_texts(request), self._limits)
        named = named_texts(request)
        with encoder.in_use():
            reading = await self._read(named, encoder, request.overlong)
            reading.raise_first()
            outputs = await outputs_of(version, encoder, reading.texts, context.deadline(), without_attention)
        self._counts.embed(reading)
        vectors: Vectors = np.stack([outputs[index][EMBEDDING] for index in range(len(named))])
        if not encoder.normalized:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        rows, columns = sizes_of(request)
        cosines = await self._pool.multiply(rows * columns * vectors.shape[1], lambda: compared(request, vectors))
        response = pb.SimilarityResponse(model=version.name, model_version=version.version, rows=rows, columns=columns)
        put_floats(response, "similarities", cosines)
        response.truncated.extend(named[index][0] for index, text in sorted(reading.texts.items()) if text.truncated)
        return response

    async def NearestWords(self, request: pb.NearestWordsRequest, context: RpcContext) -> pb.NearestWordsResponse:
        """Find near words; see the proto for its errors."""
        version, companion = self._models.words(request.model)
        table = companion.table
        count = count_of(request)
        targets: dict[int, tuple[Vectors, list[int]]] = {}
        errors: dict[int, CuelightError] = {}
        for index, query in enumerate(request.queries):
            try:
                targets[index] = table.target(query_of(query, index), version.name)
            except (InvalidRequest, NotFound) as error:
                self._counts.word_queries["refused"] += 1
                if not request.partial:
                    raise
                errors[index] = error
        self._counts.word_queries["answered"] += len(targets)
        response = pb.NearestWordsResponse(model=version.name, model_version=version.version)

        def answer() -> None:
            vectors, own = [vector for vector, _ in targets.values()], [rows for _, rows in targets.values()]
            found = table.nearest(np.stack(vectors), own, count) if targets else []
            add_near_words(response, len(request.queries), dict(zip(targets, found, strict=True)), errors)

        # The message, too: of a quarter of a million words it takes longer than the products.
        await self._pool.multiply(len(table.words) * table.width * len(targets), answer)
        return response

    async def Tokenize(self, request: pb.TokenizeRequest, context: RpcContext) -> pb.TokenizeResponse:
        """Take texts apart; see the proto for its errors."""
        version, encoder = self._models.encoder(request.model)
        check_count(len(request.texts), self._limits)
        texts = list(request.texts)  # once: each look at a message's text makes it anew
        size_bytes = check_call(texts, self._limits)
        for index, text in enumerate(texts):
            try:
                check_text(text, f"texts[{index}]", self._limits)
            except InvalidRequest:
                self._counts.refused += 1
                raise
        response = pb.TokenizeResponse(model=version.name, model_version=version.version, max_tokens=encoder.max_tokens)
        await self._pool.run(size_bytes, lambda: add_tokens(response, request, encoder))
        self._counts.tokenized += len(texts)
        return response

    async def _read(
        self, named: Sequence[tuple[str, str]], encoder: EncoderCompanion, overlong: pb.OverlongText.ValueType
    ) -> Reading:
        check_call([text for _, text in named], self._limits)
        reading = await read_texts(named, encoder, overlong, self._pool, self._limits)
        self._counts.refused += len(reading.errors)
        return reading
