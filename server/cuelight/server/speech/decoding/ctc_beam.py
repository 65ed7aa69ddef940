"""Prefix beam search: the most likely sequences of a CTC model, each summed over all the ways to say it.

A prefix is a sequence of tokens. Two numbers are kept for it, the probability of all paths so far that spell it and end
in a blank, and of those that end in its last token: only after a blank may the same token come again. Frame by frame
every prefix is kept as it is or extended by one token; paths that meet in one prefix are added. Prefixes are ordered by
that probability and the boosts their tokens earned in the graph of phrases; the best `beam` go on.

Source: Hannun, Maas, Jurafsky, Ng (2014), First-pass large vocabulary continuous speech recognition using
bi-directional recurrent DNNs, algorithm 1, without the language model.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.decoding.ctc_prefix import CtcPrefix
from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.log_space import NEVER, log_add
from cuelight.server.speech.decoding.phrases import PhraseGraph

__all__ = ["CtcBeamSearch"]


class CtcBeamSearch:
    """One utterance's prefixes. Owned by the voice that decodes."""

    def __init__(
        self,
        blank: int,
        beam: int = 8,
        graph: PhraseGraph | None = None,
        top_tokens: int = 16,
        min_log_prob: float = -9.0,
    ) -> None:
        """Consider `top_tokens` of a frame, of those that are at least `min_log_prob` likely; the blank always."""
        self._blank = blank
        self._beam = beam
        self._graph = graph
        self._top_tokens = top_tokens
        self._min_log_prob = min_log_prob
        self.chunk_speech: list[bool] = []
        """Which frames of the last chunk were not blank, by their most likely symbol."""
        self.reset()

    def reset(self) -> None:
        """Begin the next utterance at frame 0."""
        self.frames = 0
        self.trailing_blank_frames = 0
        self._prefixes = [CtcPrefix.empty()]

    @property
    def decoded_anything(self) -> bool:
        """Whether the best sequence has a token."""
        return bool(self._prefixes[0].ids)

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Take the next (frames, vocab) float32, normalized."""
        self.chunk_speech = (log_probs.argmax(axis=1) != self._blank).tolist()
        blanks = log_probs[:, self._blank].tolist()
        for blank, likely, is_speech in zip(blanks, self._likely(log_probs), self.chunk_speech, strict=True):
            self._step(blank, likely)
            self.frames += 1
            self.trailing_blank_frames = 0 if is_speech else self.trailing_blank_frames + 1

    def best(self, count: int = 1, final: bool = False) -> list[Decoded]:
        """Return the best sequences, at most `count`, the best first.

        At the end of an utterance, `final`, a phrase that was only begun gives its boost back.
        """
        back = self._graph.finish if final and self._graph is not None else _nothing
        ranked = sorted(self._prefixes, key=lambda prefix: -(prefix.score + back(prefix.state)))
        return [prefix.decoded(back(prefix.state)) for prefix in ranked[:count]]

    def snapshot(self) -> dict[str, Any]:
        """Return all that `restore` needs, in JSON's types."""
        return {
            "count": self.frames,
            "trailing": self.trailing_blank_frames,
            "prefixes": [prefix.snapshot() for prefix in self._prefixes],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on where a snapshot was taken, with the same phrases."""
        self.frames = snapshot["count"]
        self.trailing_blank_frames = snapshot["trailing"]
        self._prefixes = [CtcPrefix.restored(prefix) for prefix in snapshot["prefixes"]]

    def _likely(self, log_probs: NDArray[np.float32]) -> list[list[tuple[int, float]]]:
        """Return the tokens of each frame worth a look, without the blank, with their log-probability."""
        kept = min(self._top_tokens + 1, log_probs.shape[1])
        top = np.argpartition(log_probs, -kept, axis=1)[:, -kept:]
        values = np.take_along_axis(log_probs, top, axis=1).tolist()
        return [
            [
                (token, log_prob)
                for token, log_prob in zip(tokens, row, strict=True)
                if log_prob > self._min_log_prob and token != self._blank
            ]
            for tokens, row in zip(top.tolist(), values, strict=True)
        ]

    def _step(self, blank: float, likely: list[tuple[int, float]]) -> None:
        """Take one frame."""
        found = {prefix.ids: prefix.stay(blank) for prefix in self._prefixes}
        for prefix in self._prefixes:
            last = prefix.ids[-1] if prefix.ids else None
            for token, log_prob in likely:
                if token == last:
                    found[prefix.ids].repeat(prefix, log_prob)
                    if prefix.blank > NEVER:
                        self._extend(found, prefix, token, prefix.blank + log_prob, log_prob)
                else:
                    self._extend(found, prefix, token, prefix.total + log_prob, log_prob)
        self._prefixes = self._pruned(found.values())

    def _extend(
        self, found: dict[tuple[int, ...], CtcPrefix], prefix: CtcPrefix, token: int, arriving: float, log_prob: float
    ) -> None:
        ids = (*prefix.ids, token)
        known = found.get(ids)
        if known is None:
            earned, state = (0.0, 0) if self._graph is None else self._graph.step(prefix.state, token)
            found[ids] = prefix.extended(ids, arriving, self.frames, log_prob, prefix.boost + earned, state)
        else:
            known.meet(prefix, arriving, self.frames, log_prob)

    def _pruned(self, found: Collection[CtcPrefix]) -> list[CtcPrefix]:
        for prefix in found:
            prefix.total = log_add(prefix.blank, prefix.token)
            prefix.score = prefix.total + prefix.boost
        # by the tokens too, so that a tie does not depend on the order they came in
        return sorted(found, key=lambda prefix: (-prefix.score, prefix.ids))[: self._beam]


def _nothing(_state: int) -> float:
    return 0.0
