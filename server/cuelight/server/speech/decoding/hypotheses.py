"""From the sequences of a search to hypotheses: text, confidence, and where they are asked for, words."""

from collections.abc import Sequence

from cuelight.server.speech.decoding.confidence import confidence_of
from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.tokens import TokenTable
from cuelight.server.speech.results import Hypothesis

__all__ = ["hypotheses_of"]


def hypotheses_of(
    sequences: Sequence[Decoded],
    tokens: TokenTable,
    frame_s: float,
    offset_s: float = 0.0,
    count: int = 1,
    word_times: bool = True,
) -> tuple[Hypothesis, ...]:
    """Return at most `count` hypotheses in the order of the sequences; frame 0 is at `offset_s`.

    Sequences that spell the same text are one hypothesis, the first: ask the search for more of them than `count`.
    Where there are none at all, the hypothesis is empty.
    """
    found: dict[str, Hypothesis] = {}
    for sequence in sequences:
        if len(found) == count:
            break
        text = tokens.text(sequence.ids)
        if text not in found:
            words = (
                tokens.words(sequence.ids, sequence.frames, sequence.log_probs, frame_s, offset_s) if word_times else ()
            )
            found[text] = Hypothesis(text, confidence_of(sequence.log_probs), words)
    return tuple(found.values()) or (Hypothesis(""),)
