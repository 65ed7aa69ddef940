"""A text turned into another sequence: how to decode, what came of it, and how to read the answer as it is made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.client.errors import Unavailable
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["GREEDY", "TRANSDUCE_PATH", "Decoding", "OutputReader", "OutputToken", "Transduced", "Transduction"]

TRANSDUCE_PATH = "/cuelight.text.v1.TextService/Transduce"

Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to search for the output. Zeros are the server's defaults: greedy, the model's longest output, one of them.

    `beam_width` hypotheses are kept at every step, at most 32, and `alternatives` of them returned at most.
    `length_penalty`, 0 to 2, favours longer outputs of a beam. `attention` asks where each token looked.
    """

    beam_width: int = 0
    max_tokens: int = 0
    alternatives: int = 0
    length_penalty: float = 0.0
    attention: bool = False

    def request(self, text: str, model: str) -> pb.TransduceRequest:
        """Return the message that asks for it."""
        return pb.TransduceRequest(
            model=model,
            text=text,
            beam_width=self.beam_width,
            max_tokens=self.max_tokens,
            max_alternatives=self.alternatives,
            length_penalty=self.length_penalty,
            attention=self.attention,
        )


GREEDY = Decoding()
"""The likeliest token of every step."""


@dataclass(frozen=True, slots=True, eq=False)
class OutputToken:
    """A token, the natural logarithm of its probability after those before it, and where it looked: (source,)."""

    token: str
    log_probability: float
    attention: Weights | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Transduction:
    """An output; `complete` unless it was cut off at the longest allowed. The end counts in `log_probability`."""

    text: str
    tokens: tuple[OutputToken, ...]
    log_probability: float
    complete: bool

    def attention(self) -> Weights | None:
        """Return where every token looked, (tokens, source), if that was asked for and there is a token."""
        rows = [token.attention for token in self.tokens if token.attention is not None]
        return np.stack(rows) if rows else None


@dataclass(frozen=True, slots=True, eq=False)
class Transduced:
    """What a text became, best first; `source_tokens` are the text as the model saw it."""

    model: str
    model_version: int
    source_tokens: tuple[str, ...]
    alternatives: tuple[Transduction, ...]

    @property
    def best(self) -> Transduction:
        """The likeliest output."""
        return self.alternatives[0]


class OutputReader:
    """Reads the responses of one call. A call that is made again begins anew: what was told is not told twice."""

    def __init__(self) -> None:
        self.result: Transduced | None = None
        self._started = pb.TransductionStarted()
        self._told: list[str] = []
        self._place = 0

    def take(self, response: pb.TransduceResponse) -> Iterator[OutputToken]:
        """Yield the tokens of a response that were not told yet.

        Raises: Unavailable when a call that was made again says other tokens than before: the model is another one.
        """
        if response.HasField("started"):
            self._started = response.started
            self._place = 0
        for token in response.tokens:
            if self._place < len(self._told):
                if self._told[self._place] != token.token:
                    raise Unavailable("the connection broke, and the output is another one now; call again")
            else:
                self._told.append(token.token)
                yield _token_from(token)
            self._place += 1
        if response.HasField("result"):
            self.result = _transduced(self._started, response.result.alternatives)

    def finished(self) -> Transduced:
        """Return the whole. Raises: Unavailable when the call has ended without it."""
        if self.result is None:
            raise Unavailable("the call ended without a result")
        return self.result


def _transduced(started: pb.TransductionStarted, alternatives: Sequence[Any]) -> Transduced:
    made = tuple(
        Transduction(
            one.text, tuple(map(_token_from, one.tokens)), one.log_probability, one.end == pb.Transduction.COMPLETE
        )
        for one in alternatives
    )
    return Transduced(started.model, started.model_version, tuple(started.source_tokens), made)


def _token_from(token: Any) -> OutputToken:
    attention = np.array(token.attention, np.float32) if token.attention else None
    return OutputToken(token.token, token.log_probability, attention)
