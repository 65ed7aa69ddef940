"""From the texts of a call to what the model takes: checked, tokenized, cut, each error in its text's place."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cuelight.server.config import TextConfig
from cuelight.server.errors import CuelightError, InvalidRequest
from cuelight.server.text.encoder import EncoderCompanion
from cuelight.server.text.texts import check_text, size_of
from cuelight.server.text.tokenizer import EncodedText
from cuelight.server.text.work_pool import WorkPool
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["Reading", "read_texts"]


@dataclass(slots=True)
class Reading:
    """Texts by their index: those that can be embedded, and why the others cannot."""

    texts: dict[int, EncodedText] = field(default_factory=dict)
    errors: dict[int, CuelightError] = field(default_factory=dict)

    def raise_first(self) -> None:
        """Raise the first error, saying how many more there are."""
        if self.errors:
            first = self.errors[min(self.errors)]
            more = len(self.errors) - 1
            raise InvalidRequest(f"{first.message} (and {more} more like it)" if more else first.message)


async def read_texts(
    named: Sequence[tuple[str, str]],
    encoder: EncoderCompanion,
    overlong: pb.OverlongText.ValueType,
    pool: WorkPool,
    limits: TextConfig,
) -> Reading:
    """Return what became of texts, each given with the name of its place.

    Raises: Overloaded; InvalidRequest for an unknown value of `overlong`.
    """
    if overlong not in pb.OverlongText.values():
        raise InvalidRequest(f"overlong: got {overlong}, expected TRUNCATE or REFUSE")
    reading = Reading()
    for index, (where, text) in enumerate(named):
        try:
            check_text(text, where, limits)
        except InvalidRequest as error:
            reading.errors[index] = error
    good = [index for index in range(len(named)) if index not in reading.errors]
    texts = [named[index][1] for index in good]
    tokenizer, most = encoder.tokenizer, encoder.max_tokens
    encoded = await pool.run(sum(map(size_of, texts)), lambda: tokenizer.encode(texts, most)) if texts else []
    for index, result in zip(good, encoded, strict=True):
        if not result.ids:
            # A tokenizer without markers makes nothing of, say, a zero-width space.
            reading.errors[index] = InvalidRequest(f"{named[index][0]}: expected a text with tokens, got one without")
        elif result.truncated and overlong == pb.REFUSE:
            reading.errors[index] = InvalidRequest(
                f"{named[index][0]}: expected at most {most} tokens, got {result.full_count}"
            )
        else:
            reading.texts[index] = result
    return reading
