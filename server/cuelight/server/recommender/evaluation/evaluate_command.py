"""`cuelight recommender evaluate`: models side by side on what a data folder holds."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.evaluation.from_store import EvaluationData, evaluation_data
from cuelight.server.recommender.evaluation.protocol import evaluate
from cuelight.server.recommender.evaluation.report import as_markdown, as_table, check_picture, plot
from cuelight.server.recommender.evaluation.split import Split, leave_last_out, per_user_split
from cuelight.server.recommender.liking import min_value_of
from cuelight.server.recommender.store.store import Store

__all__ = ["PROTOCOLS", "evaluate_folder"]

PROTOCOLS = ("per-user", "last-out")


def evaluate_folder(
    data: Path, models: Sequence[str], protocol: str, min_value: float | None, markdown: bool, picture: Path | None
) -> int:
    """Measure models and print the table; return the exit code. A server may serve from the folder meanwhile.

    Raises: ConfigError when the folder cannot be read, the picture not be drawn, or nobody likes anything.
    """
    if picture is not None:
        check_picture(picture)
    store = Store(data, read_only=True)
    try:
        found = evaluation_data(store, min_value_of(store) if min_value is None else min_value)
    finally:
        store.close()
    if not found.liked:
        raise ConfigError(f"{data}: nobody likes anything; see --min-value")
    figures = evaluate(_split(found, protocol), found.features, models, progress=_say)
    print(as_markdown(figures) if markdown else as_table(figures))
    if picture is not None:
        plot(figures, picture)
    return 0


def _split(found: EvaluationData, protocol: str) -> Split:
    if protocol == "per-user":
        return per_user_split(found.liked, found.n_items)
    return leave_last_out(found.liked, found.n_items)


def _say(model: str) -> None:
    print(f"fitting and ranking: {model}", file=sys.stderr, flush=True)
