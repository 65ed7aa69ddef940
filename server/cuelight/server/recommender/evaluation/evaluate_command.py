"""`cuelight recommender evaluate`: models side by side on what a data folder holds."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.evaluation.from_store import EvaluationData, evaluation_data
from cuelight.server.recommender.evaluation.protocol import evaluate
from cuelight.server.recommender.evaluation.report import as_markdown, as_table, check_picture, plot
from cuelight.server.recommender.evaluation.split import HELD_OUT_OF, Split, leave_last_out, per_user_split
from cuelight.server.recommender.liking import min_value_of
from cuelight.server.recommender.model_names import MODEL_NAMES
from cuelight.server.recommender.model_set import ModelSettings
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.exporters_link import sasrec, why_no_training
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
    skip: Sequence[str] = (),
    blends: Sequence[Mapping[str, float]] = (),
    settings: ModelSettings | None = None,
) -> int:
    """Measure models, then blends, and print the table; return the exit code. A server may serve meanwhile.

    Without `models` all of them, but for what cannot be trained here or foresees nothing in this protocol; `skip`
    leaves out some. `seed` and `threads` are those of training.

    Raises: ConfigError when the folder cannot be read, the picture not be drawn, nobody likes anything, nothing can be
    held out, or a model that was named needs torch.
    """
    if picture is not None:
        check_picture(picture)
    names, left_out = _chosen(models, protocol, skip)
    if not names and not blends:
        raise ConfigError("--skip: nothing is left to measure")
    if "sequential" in {*names, *(name for blend in blends for name in blend)}:
        sasrec()
    store = Store(data, read_only=True)
    try:
        found = evaluation_data(store, min_value_of(store) if min_value is None else min_value)
    finally:
        store.close()
    if not found.liked:
        raise ConfigError(f"{data}: nobody likes anything; see --min-value")
    split = _split(found, protocol)
    if not any(len(held_out) for held_out in split.held_out):
        raise ConfigError(f"{data}: {_nothing_held_out(found, protocol)}")
    if left_out:
        _print(left_out)
    train = partial(trained_on, told={"seed": seed}, threads=threads)
    figures = evaluate(split, found.features, names, settings, _say, train, blends)
    print(as_markdown(figures) if markdown else as_table(figures))
    if picture is not None:
        plot(figures, picture)
    return 0


def _chosen(models: Sequence[str] | None, protocol: str, skip: Sequence[str]) -> tuple[Sequence[str], str]:
    """Return the models to measure, and what to say of one that was not named and is left out."""
    wanted = [name for name in models or MODEL_NAMES if name not in skip]
    if models is not None or "sequential" not in wanted:
        return wanted, ""
    missing = why_no_training()
    if protocol == "last-out" and not missing:
        return wanted, ""
    why = missing or "it foresees what comes next; --protocol last-out, or --model sequential"
    return [name for name in wanted if name != "sequential"], f"left out: sequential: {why}"


def _split(found: EvaluationData, protocol: str) -> Split:
    if protocol == "per-user":
        return per_user_split(found.liked, found.n_items)
    return leave_last_out(found.liked, found.n_items)


def _nothing_held_out(found: EvaluationData, protocol: str) -> str:
    most = max(map(len, found.liked))
    held_out, needed = ("one like of five", HELD_OUT_OF) if protocol == "per-user" else ("the latest like", 2)
    return f"{protocol} holds out {held_out} of each user: expected somebody with {needed} likes, got {most} at most"


def _say(model: str) -> None:
    _print(f"fitting and ranking: {model}")


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
