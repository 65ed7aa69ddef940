"""From what was computed to the messages of the answers."""

from collections.abc import Mapping, Sequence

from cuelight.server.errors import CuelightError
from cuelight.server.rpc.status import status_of
from cuelight.server.text.attention import AttentionChoice
from cuelight.server.text.embedding import Arrays
from cuelight.server.text.encoder import ATTENTION, EMBEDDING, EncoderCompanion
from cuelight.server.text.floats import put_floats
from cuelight.server.text.offsets import OffsetTable
from cuelight.server.text.reading import Reading
from cuelight.server.text.words import NearWord
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["add_embedding", "add_near_words", "add_tokens"]


def add_embedding(
    response: pb.EmbedResponse,
    index: int,
    reading: Reading,
    outputs: Mapping[int, Arrays],
    encoder: EncoderCompanion,
    choice: AttentionChoice | None,
) -> None:
    """Add the embedding of the text of this index, or why it has none."""
    embedding = response.embeddings.add()
    if index in reading.errors:
        embedding.error.CopyFrom(_text_error(reading.errors[index]))
        return
    text = reading.texts[index]
    embedding.token_count, embedding.truncated = len(text.ids), text.truncated
    put_floats(embedding, "values", outputs[index][EMBEDDING])
    if choice is not None:
        attention = embedding.attention
        attention.tokens.extend(encoder.tokenizer.token(token_id) for token_id in text.ids)
        attention.layers.extend(choice.layers)
        attention.heads = choice.heads
        put_floats(attention, "weights", outputs[index][ATTENTION])


def add_near_words(
    response: pb.NearestWordsResponse,
    count: int,
    found: Mapping[int, Sequence[NearWord]],
    errors: Mapping[int, CuelightError],
) -> None:
    """Add the words near to each of `count` queries, by their indices, or why there are none."""
    for index in range(count):
        result = response.results.add()
        if index in errors:
            result.error.CopyFrom(_text_error(errors[index]))
            continue
        for near in found[index]:
            result.words.add(word=near.word, similarity=near.similarity)


def add_tokens(response: pb.TokenizeResponse, request: pb.TokenizeRequest, encoder: EncoderCompanion) -> None:
    """Add the tokens of every text. Raises: InvalidRequest for an unknown unit of offsets."""
    for text in request.texts:
        tokens = encoder.tokenizer.tokens(text, special=not request.without_special_tokens)
        places = OffsetTable(text, request.offset_unit)
        added = response.texts.add().tokens
        columns = zip(tokens.ids, tokens.tokens, tokens.starts, tokens.ends, tokens.special, strict=True)
        for token_id, token, start, end, special in columns:
            added.add(id=token_id, token=token, start=places[start], end=places[end], special=special)


def _text_error(error: CuelightError) -> pb.TextError:
    status = status_of(error)
    return pb.TextError(code=int(status.code), message=status.message)
