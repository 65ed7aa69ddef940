"""Which nodes to leave in FP32: as few as it takes, those first that cost the most when they alone are converted."""

from collections.abc import Callable, Sequence

__all__ = ["Tried", "fewest_excluded"]

Tried = tuple[tuple[str, ...], float]
"""Nodes left alone, and the accuracy that it leads to."""


def fewest_excluded(
    nodes: Sequence[str], cost_alone: Callable[[str], float], accuracy: Callable[[tuple[str, ...]], float], least: float
) -> tuple[Tried, bool]:
    """Return the nodes left alone and the accuracy, and whether that is `least` or more.

    Tries none, then the costliest node, two, four and so on, up to half of them: with more, too little would be won.
    Costs are asked for when none is not enough. Where it never holds, what came closest is returned.
    """
    best: Tried = ((), accuracy(()))
    if best[1] >= least:
        return best, True
    costs = {node: cost_alone(node) for node in nodes}
    ranked = sorted(nodes, key=lambda node: -costs[node])
    count = 1
    while count <= len(nodes) // 2:
        tried = tuple(ranked[:count])
        reached = accuracy(tried)
        if reached >= least:
            return (tried, reached), True
        best = max(best, (tried, reached), key=lambda one: one[1])
        count *= 2
    return best, False
