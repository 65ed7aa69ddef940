"""`cuelight recommender evaluate`: models side by side on what a data folder holds."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.evaluation.from_store import EvaluationData, evaluation_data
from cuelight.server.recommender.evaluation.protocol import evaluate
from cuelight.server.recommender.evaluation.report import as_markdown, as_table, check_picture, plot
from cuelight.server.recommender.evaluation.split import Split, leave_last_out, per_user_split
from cuelight.server.recommender.liking import min_value_of
from cuelight.server.recommender.model_names import MODEL_NAMES
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.exporters_link import why_no_training
from cuelight.server.recommender.trained.for_evaluation import trained_on

__all__ = ["PROTOCOLS", "evaluate_folder"]

PROTOCOLS = ("per-user", "last-out")


def evaluate_folder(
    data: Path,
    models: Sequence[str] | None,
    protocol: str,
    min_value: float | None,
    markdown: bool,
    picture: Path | None,
    seed: int = 0,
    threads: int = 1,
) -> int:
    """Measure models and print the table; return the exit code. A server may serve from the folder meanwhile.

    Without `models` all of them, but for what cannot be trained here; `seed` and `threads` are those of training.

    Raises: ConfigError when the folder cannot be read, the picture not be drawn, nobody likes anything, or a model that
    was named needs torch.
    """
    if picture is not None:
        check_picture(picture)
    names = _all_there_are() if models is None else models
    store = Store(data, read_only=True)
    try:
        found = evaluation_data(store, min_value_of(store) if min_value is None else min_value)
    finally:
        store.close()
    if not found.liked:
        raise ConfigError(f"{data}: nobody likes anything; see --min-value")
    train = partial(trained_on, told={"seed": seed}, threads=threads)
    figures = evaluate(_split(found, protocol), found.features, names, progress=_say, train=train)
    print(as_markdown(figures) if markdown else as_table(figures))
    if picture is not None:
        plot(figures, picture)
    return 0


def _all_there_are() -> Sequence[str]:
    missing = why_no_training()
    if not missing:
        return MODEL_NAMES
    print(f"left out: sequential: {missing}", file=sys.stderr, flush=True)
    return [name for name in MODEL_NAMES if name != "sequential"]


def _split(found: EvaluationData, protocol: str) -> Split:
    if protocol == "per-user":
        return per_user_split(found.liked, found.n_items)
    return leave_last_out(found.liked, found.n_items)


def _say(model: str) -> None:
    print(f"fitting and ranking: {model}", file=sys.stderr, flush=True)
