"""Models side by side: each is fitted to what is known and ranks everything its users have not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.evaluation.metrics import coverage, diversity, ndcg, novelty, recall
from cuelight.server.recommender.evaluation.split import Split
from cuelight.server.recommender.features import ItemFeatures
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.model_set import ModelSet, ModelSettings
from cuelight.server.recommender.models.scorer import Scorer
from cuelight.server.recommender.ranking import top

__all__ = ["Figures", "blend_name", "evaluate"]

_NDCG_DEPTH = 10
_RECALL_DEPTH = 20
_BATCH = 256
_COLD_USERS = 5
"""An item that so few users or fewer are known to like is cold."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one model makes of one split. Means over the users with something held out."""

    model: str
    split: str
    users: int
    ndcg_10: float
    recall_20: float
    coverage_10: float
    """Share of the catalogue in somebody's first 10."""
    diversity_10: float
    """1 minus the mean content cosine of a list's pairs."""
    novelty_10: float
    """Bits."""
    cold_recall_20: float
    """Recall of held-out items that 5 users or fewer are known to like; NaN where there are none."""
    fit_s: float
    score_s: float
    """Of all users together."""


def evaluate(
    split: Split,
    features: ItemFeatures,
    names: Sequence[str],
    settings: ModelSettings | None = None,
    progress: Callable[[str], None] = lambda name: None,
    train: Callable[[InteractionTable], Scorer] | None = None,
    blends: Sequence[Mapping[str, float]] = (),
) -> list[Figures]:
    """Fit and measure each of the models by name, then blends by weight; `progress` is told each before its turn.

    `train` makes the model `sequential` of what is known, once; without it that one cannot be measured.

    Raises: ModelNotFound; Unsupported for one that nobody trains; InvalidRequest for a blend that cannot be; what
    `train` raises.
    """
    figures = []
    sequential: Scorer | None = None
    for name, weights in [*((name, None) for name in names), *((blend_name(blend), blend) for blend in blends)]:
        progress(name)
        started_s = perf_counter()
        models = ModelSet(split.known, features, settings)
        if train is not None and "sequential" in (models.parts(name) if weights is None else weights):
            sequential = sequential or train(split.known)
            models.put("sequential", sequential)
        model = models.get(name) if weights is None else models.blend(weights)
        model.scores([split.known.row(0)])
        fit_s = perf_counter() - started_s
        figures.append(_measured(name, model, split, features, fit_s))
    return figures


def blend_name(weights: Mapping[str, float]) -> str:
    """Return what a blend is called in tables: 0.8 ease + 0.2 als."""
    return " + ".join(f"{weight:g} {model}" for model, weight in weights.items())


def _measured(name: str, model: Scorer, split: Split, features: ItemFeatures, fit_s: float) -> Figures:
    users = [user for user, held_out in enumerate(split.held_out) if len(held_out)]
    started_s = perf_counter()
    lists = _ranked(model, split, users)
    score_s = perf_counter() - started_s
    held_out = [split.held_out[user] for user in users]
    hits = [np.isin(ranked, relevant) for ranked, relevant in zip(lists, held_out, strict=True)]
    lengths = [len(relevant) for relevant in held_out]
    users_of_item = np.bincount(split.known.matrix().indices, minlength=split.known.n_items).astype(np.int64)
    tops = [ranked[:_NDCG_DEPTH] for ranked in lists]
    return Figures(
        model=name,
        split=split.name,
        users=len(users),
        ndcg_10=_mean([ndcg(hit, n, _NDCG_DEPTH) for hit, n in zip(hits, lengths, strict=True)]),
        recall_20=_mean([recall(hit, n, _RECALL_DEPTH) for hit, n in zip(hits, lengths, strict=True)]),
        coverage_10=coverage(tops, split.known.n_items),
        diversity_10=diversity(tops, features),
        novelty_10=novelty(tops, users_of_item, len(split.known)),
        cold_recall_20=_cold_recall(lists, held_out, users_of_item <= _COLD_USERS),
        fit_s=fit_s,
        score_s=score_s,
    )


def _ranked(model: Scorer, split: Split, users: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return each user's first 20 among the items that are not in the user's row."""
    lists = []
    for start in range(0, len(users), _BATCH):
        rows = [split.known.row(user) for user in users[start : start + _BATCH]]
        for row, scores in zip(rows, model.scores(rows), strict=True):
            unseen = np.ones(len(scores), np.bool_)
            unseen[row.items] = False
            lists.append(top(scores, _RECALL_DEPTH, unseen))
    return lists


def _cold_recall(
    lists: Sequence[NDArray[np.int64]], held_out: Sequence[NDArray[np.int64]], cold: NDArray[np.bool_]
) -> float:
    pairs = [(ranked, relevant[cold[relevant]]) for ranked, relevant in zip(lists, held_out, strict=True)]
    total = sum(len(relevant) for _, relevant in pairs)
    return sum(int(np.isin(ranked, relevant).sum()) for ranked, relevant in pairs) / total if total else float("nan")


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
