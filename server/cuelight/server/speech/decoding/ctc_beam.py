"""Prefix beam search: the most likely sequences of a CTC model, each summed over all the ways to say it.

A prefix is a sequence of tokens. Two numbers are kept for it, the probability of all paths so far that spell it and end
in a blank, and of those that end in its last token: only after a blank may the same token come again. Frame by frame
every prefix is kept as it is or extended by one token; paths that meet in one prefix are added. Prefixes are ordered by
that probability and the boosts their tokens earned in the graph of phrases; the best `beam` go on.

Source: Hannun, Maas, Jurafsky, Ng (2014), First-pass large vocabulary continuous speech recognition using
bi-directional recurrent DNNs, algorithm 1, without the language model.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.decoding.ctc_prefix import CtcPrefix
from cuelight.server.speech.decoding.decoded import Decoded
from cuelight.server.speech.decoding.log_space import NEVER, log_add
from cuelight.server.speech.decoding.phrases import ROOT, PhraseGraph

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
    def tokens(self) -> Sequence[int]:
        """The tokens of the best sequence so far."""
        return max(self._prefixes, key=lambda prefix: prefix.score).ids

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
        """Return the tokens of each frame worth a look and their log-probability, the best first, without the blank."""
        kept = min(self._top_tokens + 1, log_probs.shape[1])
        top = np.argpartition(log_probs, -kept, axis=1)[:, -kept:]
        values = np.take_along_axis(log_probs, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
        return [
            [
                (token, log_prob)
                for token, log_prob in zip(tokens, row, strict=True)
                if log_prob > self._min_log_prob and token != self._blank
            ]
            for tokens, row in zip(top.tolist(), values.tolist(), strict=True)
        ]

    def _step(self, blank: float, likely: list[tuple[int, float]]) -> None:
        """Take one frame; `likely` has the likeliest token first."""
        found = {prefix.ids: prefix.stay(blank) for prefix in self._prefixes}
        if likely:
            self._meet(found, dict(likely))
            self._extend(found, likely)
        self._prefixes = self._pruned(found.values())

    def _meet(self, found: dict[tuple[int, ...], CtcPrefix], log_prob_of: dict[int, float]) -> None:
        """Add the ways from one prefix of the beam to another: its last token goes on, or it is one token longer."""
        before = {prefix.ids: prefix for prefix in self._prefixes}
        for ids, kept in found.items():
            log_prob = log_prob_of.get(ids[-1]) if ids else None
            if log_prob is None:
                continue
            kept.repeat(before[ids], log_prob)
            shorter = before.get(ids[:-1])
            if shorter is not None:
                kept.meet(shorter, shorter.ready(ids[-1]) + log_prob, self.frames, log_prob)

    def _extend(self, found: dict[tuple[int, ...], CtcPrefix], likely: list[tuple[int, float]]) -> None:
        """Add the prefixes that one more token makes, but for those that cannot be among the best.

        There is one way alone to a prefix that is new, so its probability is known before it is made.
        """
        graph, least = self._graph, self._least(found.values())
        for prefix in self._prefixes:
            most = prefix.score if graph is None else prefix.score + graph.most_earned(prefix.state)
            for token, log_prob in likely:
                if most + log_prob < least:
                    break
                arriving = prefix.ready(token) + log_prob
                earned, state = (0.0, ROOT) if graph is None else graph.step(prefix.state, token)
                boost = prefix.boost + earned
                if arriving > NEVER and arriving + boost >= least:
                    ids = (*prefix.ids, token)
                    if ids not in found:
                        found[ids] = prefix.extended(ids, arriving, self.frames, log_prob, boost, state)

    def _least(self, found: Collection[CtcPrefix]) -> float:
        """Return the score below which nothing new is kept: that of the worst of a full beam."""
        if len(found) < self._beam:
            return NEVER
        return min(log_add(prefix.blank, prefix.token) + prefix.boost for prefix in found)

    def _pruned(self, found: Collection[CtcPrefix]) -> list[CtcPrefix]:
        for prefix in found:
            prefix.total = log_add(prefix.blank, prefix.token)
            prefix.score = prefix.total + prefix.boost
        # by the tokens too, so that a tie does not depend on the order they came in
        return sorted(found, key=lambda prefix: (-prefix.score, prefix.ids))[: self._beam]


def _nothing(_state: int) -> float:
    return 0.0
