"""The sequential model for an evaluation: trained on what is known alone, exported, and opened as a server opens it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.models.sequential import Sequential
from cuelight.server.recommender.trained.exporters_link import sasrec
from cuelight.server.recommender.trained.manifest import MANIFEST_NAME, Manifest, Stamp
from cuelight.server.recommender.trained.sequential_files import open_sequential
from cuelight.server.recommender.trained.training_data import like_rows

__all__ = ["trained_on"]


def trained_on(
    table: InteractionTable, told: Mapping[str, Any] | None = None, threads: int = 1, quiet: bool = False
) -> Sequential:
    """Train on a table's rows and return what a server would score with. `told` are settings by name.

    Raises: ConfigError when torch is missing, a setting cannot be, or there is nothing to learn from.
    """
    exporter = sasrec()
    rows = like_rows([table.row(user) for user in range(len(table))])
    try:
        trained = exporter.train_likes(rows.items, rows.times_s, len(rows.places), told or {}, None, threads, quiet)
    except ValueError as error:
        raise ConfigError(f"sequential: {error}") from error
    names = tuple(str(place) for place in rows.places)
    settings = trained.settings.as_dict()
    manifest = Manifest(Stamp(0, 0), names, settings["length"], 0.0, settings, exporter.foresight_of(trained))
    with tempfile.TemporaryDirectory(prefix="cuelight-evaluate-") as scratch:
        written = exporter.write(
            trained, Path(scratch), "sequential", {MANIFEST_NAME: manifest.as_json()}, "evaluation"
        )
        opened = open_sequential(written.path)
    return opened.scorer(int, table.n_items)
