"""Beam search of a transducer, for many streams at once: a joiner call a frame for all hypotheses of all streams.

"Modified": a hypothesis says at most one symbol a frame, so that all have taken the same frames and can be compared.
Each frame every hypothesis goes on in every symbol; the best `beam` of a stream stay, and those that have said the same
are added into one. The best one is the likeliest per symbol.

Source: sherpa-onnx, online-transducer-modified-beam-search-decoder.cc and hypothesis.cc, equal to it without a language
model: in hypotheses, frames, trailing blanks, log-probabilities and boosts of phrases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.log_space import log_add, log_softmax
from cuelight.server.speech.decoding.phrases import ROOT, PhraseGraph
from cuelight.server.speech.decoding.transducer import BLANK, TEMPERATURE, Decoder, Floats, Joiner, start_context

__all__ = ["BeamState", "modified_beam"]

_Way = tuple[float, int, int]
"""The log-probability of a hypothesis with one more symbol: its own included, which hypothesis, the symbol."""
_LIKELIHOOD = itemgetter(0)


@dataclass(slots=True)
class _Hypothesis:
    """`symbols` begins with the context of the utterance's start, which is nothing that was said in it.

    Once made, only the decoder's answer is added, and the probability of another one that says the same.
    """

    symbols: tuple[int, ...]
    log_prob: float = 0.0
    frames: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    trailing: int = 0
    phrase: int = ROOT
    decoder_out: Floats | None = None

    @property
    def per_symbol(self) -> float:
        return self.log_prob / len(self.symbols)


class BeamState:
    """One stream's hypotheses. Owned by its voice."""

    def __init__(self, context_size: int, unknown: int | None = None, graph: PhraseGraph | None = None) -> None:
        self.context_size = context_size
        self.unknown = unknown
        self.graph = graph
        self.frames = 0
        self.hypotheses = [_Hypothesis(start_context(context_size))]
        self.chunk_speech: list[bool] = []
        """On which frames of the last chunk the best hypothesis says a token."""

    def reset(self) -> None:
        """Begin the next utterance at frame 0.

        Where something was said, the hypotheses leave their last symbols and their probabilities behind, beside a fresh
        start that is as likely as can be. So sherpa-onnx does it, and so the fresh start nearly always wins.
        """
        merged = {(fresh := _Hypothesis(start_context(self.context_size))).symbols: fresh}
        if self.decoded_anything:
            for hypothesis in self.hypotheses:
                last = hypothesis.symbols[-self.context_size :]
                _add(merged, _Hypothesis(last, hypothesis.log_prob))
        self.frames = 0
        self.hypotheses = list(merged.values())

    @property
    def decoded_anything(self) -> bool:
        """Whether the best hypothesis has a token."""
        return len(self._best.symbols) > self.context_size

    @property
    def trailing_blank_frames(self) -> int:
        """How many frames ago the best hypothesis said its last token; all frames where it has none."""
        return self._best.trailing

    @property
    def tokens(self) -> Sequence[int]:
        """The tokens of the best hypothesis so far."""
        return max(self.hypotheses, key=lambda hypothesis: hypothesis.per_symbol).symbols[self.context_size :]

    def best(self, count: int = 1) -> list[Decoded]:
        """Return the best hypotheses, at most `count`, the likeliest per symbol first. Scores are per symbol."""
        ranked = sorted(self.hypotheses, key=lambda hypothesis: -hypothesis.per_symbol)
        return [
            Decoded(found.symbols[self.context_size :], found.frames, found.log_probs, found.per_symbol)
            for found in ranked[:count]
        ]

    def snapshot(self) -> dict[str, Any]:
        """Return all that `restore` needs, in JSON's types."""
        return {
            "count": self.frames,
            "hypotheses": [
                {
                    "symbols": list(hypothesis.symbols),
                    "log_prob": hypothesis.log_prob,
                    "frames": list(hypothesis.frames),
                    "log_probs": list(hypothesis.log_probs),
                    "trailing": hypothesis.trailing,
                    "phrase": hypothesis.phrase,
                }
                for hypothesis in self.hypotheses
            ],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on where a snapshot was taken, with the same phrases."""
        self.frames = snapshot["count"]
        self.hypotheses = [
            _Hypothesis(
                tuple(saved["symbols"]),
                saved["log_prob"],
                tuple(saved["frames"]),
                tuple(saved["log_probs"]),
                saved["trailing"],
                saved["phrase"],
            )
            for saved in snapshot["hypotheses"]
        ]

    @property
    def _best(self) -> _Hypothesis:
        return max(self.hypotheses, key=lambda hypothesis: hypothesis.per_symbol)

    def take(self, ways: Sequence[_Way], logits: Floats, beam: int, temperature: float) -> None:
        """Take one frame: of all the ways on, the best `beam`; `logits` (hypotheses, vocab)."""
        merged: dict[tuple[int, ...], _Hypothesis] = {}
        for log_prob, parent, symbol in sorted(ways, key=_LIKELIHOOD, reverse=True)[:beam]:
            if symbol in (BLANK, self.unknown):
                _add(merged, _waited(self.hypotheses[parent], log_prob))
            else:
                told = float(log_softmax(logits[parent] / np.float32(temperature))[symbol])
                _add(merged, self._said(self.hypotheses[parent], symbol, log_prob, told))
        self.hypotheses = list(merged.values())
        self.frames += 1

    def mark_speech(self, frames: int) -> None:
        """Note where the best hypothesis says tokens in the last `frames` frames."""
        said = set(self._best.frames)
        self.chunk_speech = [frame in said for frame in range(self.frames - frames, self.frames)]

    def _said(self, hypothesis: _Hypothesis, symbol: int, log_prob: float, told: float) -> _Hypothesis:
        earned, phrase = (0.0, ROOT) if self.graph is None else self.graph.step(hypothesis.phrase, symbol)
        return _Hypothesis(
            (*hypothesis.symbols, symbol),
            float(np.float32(log_prob + earned)) if earned else log_prob,
            (*hypothesis.frames, self.frames),
            (*hypothesis.log_probs, told),
            phrase=phrase,
        )


def modified_beam(
    states: Sequence[BeamState],
    encoder_out: Floats,
    joiner: Joiner,
    decoder: Decoder,
    beam: int = 4,
    temperature: float = TEMPERATURE,
) -> None:
    """Take the next (streams, frames, D) of each stream, `beam` hypotheses a stream."""
    frames = encoder_out.shape[1]
    for frame in range(frames):
        _ask(states, decoder)
        outputs = np.stack(
            [out for state in states for hyp in state.hypotheses if (out := hyp.decoder_out) is not None]
        )
        counts = [len(state.hypotheses) for state in states]
        logits = joiner(np.repeat(encoder_out[:, frame], counts, axis=0), outputs)
        before = np.array([hypothesis.log_prob for state in states for hypothesis in state.hypotheses])
        # float32, as sherpa-onnx sums: a tie there is a tie here
        best = _best_of_rows((log_softmax(logits) + before[:, np.newaxis]).astype(np.float32), beam)
        first = 0
        for state, count in zip(states, counts, strict=True):
            rows = range(first, first + count)
            ways = [(log_prob, row - first, symbol) for row in rows for log_prob, symbol in best[row]]
            state.take(ways, logits[first : first + count], beam, temperature)
            first += count
    for state in states:
        state.mark_speech(frames)


def _ask(states: Sequence[BeamState], decoder: Decoder) -> None:
    """Run the decoder for the hypotheses that have said something since it ran."""
    new = [
        (state, index)
        for state in states
        for index, hypothesis in enumerate(state.hypotheses)
        if hypothesis.decoder_out is None
    ]
    if not new:
        return
    contexts = np.array([state.hypotheses[index].symbols[-state.context_size :] for state, index in new], np.int64)
    for (state, index), answer in zip(new, decoder(contexts), strict=True):
        state.hypotheses[index].decoder_out = answer


def _waited(before: _Hypothesis, log_prob: float) -> _Hypothesis:
    return _Hypothesis(
        before.symbols,
        log_prob,
        before.frames,
        before.log_probs,
        before.trailing + 1,
        before.phrase,
        before.decoder_out,
    )


def _add(merged: dict[tuple[int, ...], _Hypothesis], hypothesis: _Hypothesis) -> None:
    known = merged.get(hypothesis.symbols)
    if known is None:
        merged[hypothesis.symbols] = hypothesis
    else:
        known.log_prob = log_add(known.log_prob, hypothesis.log_prob)


def _best_of_rows(totals: Floats, count: int) -> list[list[tuple[float, int]]]:
    """Return the highest `count` of each row with their columns: no stream's best can be elsewhere."""
    count = min(count, totals.shape[1])
    columns = np.argpartition(totals, -count, axis=1)[:, -count:]
    values = np.take_along_axis(totals, columns, axis=1)
    return [list(zip(*row, strict=True)) for row in zip(values.tolist(), columns.tolist(), strict=True)]
