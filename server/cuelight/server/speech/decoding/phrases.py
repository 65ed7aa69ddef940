"""Phrases that are likelier than a model thinks: a graph that gives each of their tokens a boost, and takes it back.

The graph is the automaton of Aho and Corasick (1975): a tree of all phrases, and from each node a way, on failure, to
the longest end of what was read that begins another phrase. A token that goes on with a phrase earns the phrase's
boost; leaving the phrase before its end gives back all of it but what the next node is worth; a phrase read to its end
keeps it. So a half phrase gains nothing.

Source: icefall and sherpa-onnx, context-graph.cc, whose scores these are in both of its modes, but that a boost of 0
here is 0. States are numbers, 0 the beginning, so that a hypothesis is copied and saved cheaply.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["ROOT", "PhraseGraph"]

ROOT = 0


@dataclass(slots=True)
class _Node:
    token_score: float = 0.0
    node_score: float = 0.0
    """What the tokens up to here have earned."""
    output_score: float = 0.0
    """What the phrases that end here keep."""
    is_end: bool = False
    next: dict[int, int] = field(default_factory=dict)
    fail: int = ROOT
    most_earned: float = 0.0
    output: int | None = None
    """The longest other phrase that ends here too."""


class PhraseGraph:
    """An immutable graph, shared by all hypotheses of a stream."""

    def __init__(self, phrases: Iterable[tuple[Sequence[int], float]]) -> None:
        """Take phrases as ids with the boost of each token, a natural logarithm; phrases without ids are left out."""
        self._nodes = [_Node()]
        for ids, boost in phrases:
            self._add(ids, boost)
        self._link()

    def __len__(self) -> int:
        """Return the number of states."""
        return len(self._nodes)

    def step(self, state: int, token: int, strict: bool = False) -> tuple[float, int]:
        """Return what `token` earns in `state` (negative where it gives a boost back), and the state after it.

        Not strict, as sherpa-onnx decodes, the graph begins anew where a phrase ends; strict, as icefall does, phrases
        that overlap earn together.
        """
        nodes = self._nodes
        following = nodes[state].next.get(token)
        if following is not None:
            earned = nodes[following].token_score
        elif state == ROOT:
            return 0.0, ROOT
        else:
            following = self._next_or_root(nodes[state].fail, token)
            earned = nodes[following].node_score - nodes[state].node_score
        node = nodes[following]
        if not strict and node.output_score != 0:
            return earned + self._kept(node) - node.node_score, ROOT
        return earned + node.output_score, following

    def most_earned(self, state: int) -> float:
        """Return a bound of what a step from `state` earns, where it is not strict."""
        return self._nodes[state].most_earned

    def finish(self, state: int) -> float:
        """Return what ending in `state` gives back: the boost of a phrase that was only begun, as 0 or less."""
        return -self._nodes[state].node_score

    def _kept(self, node: _Node) -> float:
        if node.is_end or node.output is None:
            return node.node_score
        return self._nodes[node.output].node_score

    def _add(self, ids: Sequence[int], boost: float) -> None:
        at = ROOT
        for position, token in enumerate(ids):
            before = self._nodes[at].node_score
            last = position == len(ids) - 1
            known = self._nodes[at].next.get(token)
            if known is None:
                known = self._nodes[at].next[token] = len(self._nodes)
                self._nodes.append(_Node(token_score=boost))
            node = self._nodes[known]
            node.token_score = max(boost, node.token_score)
            node.node_score = before + node.token_score
            node.is_end = node.is_end or last
            node.output_score = node.node_score if node.is_end else 0.0
            at = known

    def _link(self) -> None:
        """Set where each node goes on failure, nearest to the root first: a node's way needs its parent's."""
        waiting = deque(self._nodes[ROOT].next.values())
        while waiting:
            parent = self._nodes[waiting.popleft()]
            for token, child in parent.next.items():
                self._fill(self._nodes[child], self._next_or_root(parent.fail, token))
                waiting.append(child)
        self._bound()

    def _bound(self) -> None:
        """Set what no step of each node can exceed: its own children's, or those of the nodes it fails to."""
        nodes = self._nodes
        # a longer phrase that is worth less than one that ends with it earns the difference
        more = max(0.0, *(self._kept(node) - node.node_score for node in nodes))
        for node in nodes:
            best = max((nodes[child].token_score for child in node.next.values()), default=0.0)
            at = node.fail
            while node is not nodes[ROOT]:
                ways = (nodes[child].node_score for child in nodes[at].next.values())
                best = max(best, max(ways, default=0.0) - node.node_score)
                if at == ROOT:
                    break
                at = nodes[at].fail
            node.most_earned = max(best, -node.node_score) + more

    def _fill(self, node: _Node, fail: int) -> None:
        node.fail = fail
        shorter = fail
        while shorter != ROOT and not self._nodes[shorter].is_end:
            shorter = self._nodes[shorter].fail
        if shorter != ROOT:
            node.output = shorter
            node.output_score += self._nodes[shorter].output_score

    def _next_or_root(self, state: int, token: int) -> int:
        while token not in self._nodes[state].next:
            if state == ROOT:
                return ROOT
            state = self._nodes[state].fail
        return self._nodes[state].next[token]
