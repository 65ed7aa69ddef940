"""`cuelight recommender fit`: fit every model once, as a server does at its start, and say what it takes.

Nothing is kept: models are fitted from the store at every start, and learn from then on.
"""

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from cuelight.server.recommender.background import keep_to_one_core
from cuelight.server.recommender.features import ItemAttributes, ItemFeatures
from cuelight.server.recommender.history import NOBODY
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.liking import liked_rows, min_value_of
from cuelight.server.recommender.model_set import ModelSet, ModelSettings
from cuelight.server.recommender.store.store import Store
from cuelight.server.table import format_table

__all__ = ["fit_folder"]

_BYTES_PER_MIB = 1024 * 1024


def fit_folder(
    data: Path, models: Sequence[str], settings: ModelSettings | None = None, min_value: float | None = None
) -> int:
    """Fit models and print the table; return the exit code. A server may serve from the folder meanwhile.

    `min_value` stands in for the one that is kept with the data.

    Raises: ConfigError when the folder cannot be read.
    """
    store = Store(data, read_only=True)
    try:
        started_s = perf_counter()
        rows = liked_rows(store, min_value_of(store) if min_value is None else min_value)
        embeddings = store.embeddings()
        attributes = [item or ItemAttributes() for item in store.attributes()]
        read_s = perf_counter() - started_s
    finally:
        store.close()
    features = ItemFeatures.of(attributes, embeddings)
    keep_to_one_core()

    def new_models() -> ModelSet:
        return ModelSet(InteractionTable(len(attributes), rows), features, settings)

    lines = [_line(name, new_models) for name in models]
    print(f"{len(rows)} users, {len(attributes)} items, {sum(map(len, rows))} likes, read in {read_s:.2f} s")
    print(format_table(("model", "fit", "keeps"), lines))
    return 0


def _line(name: str, new_models: Callable[[], ModelSet]) -> tuple[str, str, str]:
    """Fit a model twice: once for the time, and once watched for the memory it keeps, which costs time."""
    started_s = perf_counter()
    new_models().get(name).scores([NOBODY])
    took_s = perf_counter() - started_s
    tracemalloc.start()
    try:
        fitted = new_models()
        fitted.get(name).scores([NOBODY])
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return name, f"{took_s:.2f} s", f"{kept_bytes / _BYTES_PER_MIB:.1f} MiB"
