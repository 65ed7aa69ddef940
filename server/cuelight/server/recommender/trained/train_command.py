"""`cuelight recommender train`: train the sequential model on what a data folder holds, and put it there to be served.

A server may serve from the folder meanwhile, and picks the model up when it is there. The steps of a training are kept
in `DIR/models/sequential/training-N-M.ckpt`, with the stamp of what it was read at, so that one that was cut short goes
on, and so that a server that forgets somebody finds and deletes it. So it does with the version in the making, whatever
step of its export that breaks: whatever fails once somebody was forgotten failed because of that, and is told as that.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError, CuelightError, Unavailable
from cuelight.server.recommender.store.forgettings import forgotten_until_now
from cuelight.server.recommender.store.store import DATABASE_NAME, Store
from cuelight.server.recommender.trained.exporters_link import sasrec
from cuelight.server.recommender.trained.manifest import (
    MANIFEST_NAME,
    Manifest,
    checkpoint_path,
    delete_version,
    kept_in,
    making_folder,
    models_folder,
)
from cuelight.server.recommender.trained.sequential_files import sequential_folder
from cuelight.server.recommender.trained.training_data import TrainingData, training_data
from cuelight.server.table import format_table

__all__ = ["train_folder"]

_NAME = "sequential"
_SOURCE = "trained by cuelight recommender train"


def train_folder(data: Path, told: Mapping[str, Any], threads: int) -> int:
    """Train, export, put in place and print the figures; return the exit code. `told` are settings by name.

    Raises: ConfigError when torch is missing, a setting cannot be, the folder cannot be read, or there is nothing to
    learn from; Unavailable when somebody was forgotten meanwhile: nothing is written then.
    """
    exporter = sasrec()
    found = _read(data)
    folder = sequential_folder(models_folder(data))
    checkpoint = checkpoint_path(folder, found.stamp)
    _delete(one.path for one in kept_in(folder) if not one.is_version and one.path != checkpoint)
    _say_what(data, found)
    version = folder / str(1 + max((int(one.path.name) for one in kept_in(folder) if one.is_version), default=0))
    with _nobody_forgotten(data, found, version, checkpoint):
        trained = _trained(exporter, data, found, told, checkpoint, threads)
        figures = exporter.foresight_of(trained)
        written = _written(exporter, trained, found, figures, version)
    _delete(one.path for one in kept_in(folder) if one.path != version)
    print(written.parity)
    print(_table(figures))
    print(f"wrote {version} ({written.size_bytes / 1e6:.1f} MB); a server on {data} takes it up by itself")
    return 0


@contextmanager
def _nobody_forgotten(data: Path, found: TrainingData, *made: Path) -> Iterator[None]:
    """Delete what the body has made where somebody was forgotten meanwhile, whether it ended well or not.

    Raises: Unavailable then; otherwise what the body raises.
    """
    try:
        yield
    except Exception as error:  # torch and ONNX Runtime raise many types where a file vanishes under them
        if not _outdated(data, found):
            raise
        _delete(made)
        raise _forgotten() from error
    if _outdated(data, found):
        _delete(made)
        raise _forgotten()


def _trained(
    exporter: Any, data: Path, found: TrainingData, told: Mapping[str, Any], checkpoint: Path, threads: int
) -> Any:
    try:
        settings = exporter.check_settings(told)
        return exporter.train_likes(
            found.rows.items,
            found.rows.times_s,
            len(found.items),
            settings,
            checkpoint,
            threads,
            stop=lambda: _outdated(data, found),
        )
    except ValueError as error:
        raise ConfigError(f"train: {error}") from error


def _written(exporter: Any, trained: Any, found: TrainingData, figures: Mapping[str, Any], version: Path) -> Any:
    """Write the model apart, in a folder that tells its stamp by its name, and rename it into place."""
    settings = trained.settings.as_dict()
    manifest = Manifest(found.stamp, found.items, settings["length"], found.min_value, settings, figures)
    assets = {MANIFEST_NAME: manifest.as_json()}
    making = making_folder(version.parent, found.stamp)
    try:
        written = exporter.write(trained, making, _NAME, assets, _SOURCE, int(version.name))
        version.parent.mkdir(exist_ok=True)
        written.path.rename(version)
    except exporter.ExportError as error:
        raise CuelightError(str(error)) from error
    finally:
        _delete([making])
    return written


def _read(data: Path) -> TrainingData:
    """Read what is trained on. Nothing is kept open: whoever reads keeps a server from forgetting to the last byte."""
    store = Store(data, read_only=True)
    try:
        return training_data(store)
    finally:
        store.close()


def _outdated(data: Path, found: TrainingData) -> bool:
    return forgotten_until_now(data / DATABASE_NAME, found.stamp.forgettings, found.stamp.last_event)


def _forgotten() -> Unavailable:
    return Unavailable("somebody was forgotten while training, and must not be in the model: train again")


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        delete_version(path)


def _say_what(data: Path, found: TrainingData) -> None:
    likes = sum(map(len, found.rows.items))
    print(
        f"training on {data}: {likes} likes (values from {found.min_value:g} on) of {len(found.items)} items "
        f"by {len(found.rows.items)} users, up to event {found.stamp.last_event}",
        file=sys.stderr,
        flush=True,
    )


def _table(figures: Mapping[str, Any]) -> str:
    header = ("people", "nDCG@10", "Recall@20", "cross entropy", "epochs", "took")
    row = (
        str(figures["people"]),
        f"{figures['ndcg_10']:.4f}",
        f"{figures['recall_20']:.4f}",
        f"{figures['cross_entropy']:.3f} nats",
        str(figures["epochs"]),
        f"{figures['took_s']:.0f} s",
    )
    return f"on everybody's newest like, while it was left out\n{format_table(header, [row])}"
