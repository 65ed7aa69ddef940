"""Greedy search of a transducer, for many streams at once: a joiner call a frame, whatever the number of streams.

A transducer says one symbol a frame, the blank mostly; what it says next depends on the last `context_size` symbols it
said, through its decoder. The blank is id 0; `<unk>` is as silent as the blank.

Source: sherpa-onnx, online-transducer-greedy-search-decoder.cc: equal to it in ids, frames, trailing blanks and
log-probabilities.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.log_space import log_softmax

__all__ = ["BLANK", "TEMPERATURE", "Decoder", "GreedyState", "Joiner", "greedy", "start_context"]

BLANK = 0
TEMPERATURE = 2.0
"""Logits are divided by it for the log-probabilities of tokens, not for the search: a transducer is too sure of itself.
Source: sherpa-onnx, online-recognizer.h."""

Floats = NDArray[np.float32]
Joiner = Callable[[Floats, Floats], Floats]
"""Encoder frames (m, D) and decoder outputs (m, E) to logits (m, vocab)."""
Decoder = Callable[[NDArray[np.int64]], Floats]
"""The last symbols (m, context_size) to decoder outputs (m, E), an array that nobody writes to afterwards."""


def start_context(context_size: int) -> tuple[int, ...]:
    """Return what a stream has said before it has said anything: -1 is no symbol at all."""
    return (*[-1] * (context_size - 1), BLANK)


class GreedyState:
    """What one stream has said in this utterance, and what the next symbol depends on. Owned by its voice."""

    frames: int
    trailing_blank_frames: int
    decoder_out: Floats | None
    """The decoder's answer (E,) to `context`, where it was asked."""
    _ids: list[int]
    _frames: list[int]
    _log_probs: list[float]

    def __init__(self, context_size: int, unknown: int | None = None) -> None:
        self.unknown = unknown
        self.context = start_context(context_size)
        self.chunk_speech: list[bool] = []
        """On which frames of the last chunk a token was said."""
        self._begin()

    def reset(self) -> None:
        """Begin the next utterance at frame 0; it goes on from the last symbols, if this one has any."""
        if not self._ids:
            self.context = start_context(len(self.context))
        self._begin()

    @property
    def decoded_anything(self) -> bool:
        """Whether the utterance has a token."""
        return bool(self._ids)

    @property
    def tokens(self) -> Sequence[int]:
        """The tokens so far."""
        return self._ids

    def best(self, count: int = 1) -> list[Decoded]:
        """Return what was said: one sequence, whatever `count` is. Its score is the sum of its log-probabilities."""
        return [Decoded(tuple(self._ids), tuple(self._frames), tuple(self._log_probs), sum(self._log_probs))]

    def snapshot(self) -> dict[str, Any]:
        """Return all that `restore` needs, in JSON's types."""
        return {
            "count": self.frames,
            "trailing": self.trailing_blank_frames,
            "context": list(self.context),
            "ids": self._ids.copy(),
            "frames": self._frames.copy(),
            "log_probs": self._log_probs.copy(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on where a snapshot was taken."""
        self.context = tuple(snapshot["context"])
        self._begin()
        self.frames = snapshot["count"]
        self.trailing_blank_frames = snapshot["trailing"]
        self._ids = list(snapshot["ids"])
        self._frames = list(snapshot["frames"])
        self._log_probs = list(snapshot["log_probs"])

    def take(self, symbol: int, logits: Floats, temperature: float) -> bool:
        """Take the symbol of the next frame; return whether it is a token, which changes the context."""
        said = symbol not in (BLANK, self.unknown)
        if said:
            self._ids.append(symbol)
            self._frames.append(self.frames)
            self._log_probs.append(float(log_softmax(logits / np.float32(temperature))[symbol]))
            self.context = (*self.context[1:], symbol)
            self.decoder_out = None
            self.trailing_blank_frames = 0
        else:
            self.trailing_blank_frames += 1
        self.frames += 1
        self.chunk_speech.append(said)
        return said

    def _begin(self) -> None:
        self.frames = 0
        self.trailing_blank_frames = 0
        self.decoder_out = None
        self._ids, self._frames, self._log_probs = [], [], []


def greedy(
    states: Sequence[GreedyState],
    encoder_out: Floats,
    joiner: Joiner,
    decoder: Decoder,
    temperature: float = TEMPERATURE,
) -> None:
    """Take the next (streams, frames, D) of each stream. The decoder runs for the streams that said something alone."""
    for state in states:
        state.chunk_speech = []
    decoder_out = _known_outputs(states, decoder)
    for frame in range(encoder_out.shape[1]):
        logits = joiner(np.ascontiguousarray(encoder_out[:, frame]), decoder_out)
        symbols = logits.argmax(axis=1).tolist()
        changed = [
            index for index, state in enumerate(states) if state.take(symbols[index], logits[index], temperature)
        ]
        if changed:
            decoder_out[changed] = _ask([states[index] for index in changed], decoder)


def _known_outputs(states: Sequence[GreedyState], decoder: Decoder) -> Floats:
    unknown = [state for state in states if state.decoder_out is None]
    if unknown:
        _ask(unknown, decoder)
    return np.stack([out for state in states if (out := state.decoder_out) is not None])


def _ask(states: Sequence[GreedyState], decoder: Decoder) -> Floats:
    answers = decoder(np.array([state.context for state in states], np.int64))
    for state, answer in zip(states, answers, strict=True):
        state.decoder_out = answer
    return answers
