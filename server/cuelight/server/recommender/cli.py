"""`cuelight recommender`: its own command line, with the exit codes of `cuelight`.

Each command imports what it needs when it runs.
"""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuelight.server.errors import ConfigError, CuelightError
from cuelight.server.flags import FRONT_FLAGS, flag, sections_of
from cuelight.server.recommender.blends import parse_blend
from cuelight.server.recommender.importing.import_options import add_import_options, sources_of
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.model_names import FITTED_NAMES, MAX_LIKED_ITEMS, MODEL_NAMES
from cuelight.server.recommender.store.damage import DATABASE_NAME, readable
from cuelight.server.version import server_version

if TYPE_CHECKING:
    from cuelight.server.recommender.config import RecommenderConfig

__all__ = ["main"]

_EXIT_FAILED = 1
_MOVIELENS_LIKED = 4.0
_SERVE_FLAGS = (
    flag("--port", "server.port", "gRPC port, 0 for any free one (default: 8003)", type=int, metavar="PORT"),
    flag("--metrics-port", "server.metrics_port", "of /metrics and /health (default: 8004)", type=int, metavar="PORT"),
    *FRONT_FLAGS,
    flag(
        "--min-value",
        "data.min_value",
        "from here on a value is a like; kept with the data (default: 1)",
        type=float,
        metavar="VALUE",
    ),
    flag(
        "--max-liked-items",
        "data.max_liked_items",
        f"above so many liked items item_cosine and ease are not available (default: {MAX_LIKED_ITEMS})",
        type=int,
        metavar="N",
    ),
)
_TRAIN_SETTINGS = (
    ("width", int, "numbers an item is told by (default: 64)"),
    ("blocks", int, "of attention (default: 1)"),
    ("heads", int, "of attention a block (default: 1)"),
    ("length", int, "so many of somebody's latest likes are looked at (default: 50)"),
    ("dropout", float, "share of numbers left out at random (default: 0.3)"),
    ("rate", float, "learning rate (default: 0.003)"),
    ("batch", int, "people a batch (default: 32)"),
    ("epochs", int, "at most (default: 60)"),
    ("patience", int, "epochs without an improvement after which it ends (default: 5)"),
    ("seed", int, "of weights, order and dropout (default: 0)"),
)


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit code: 0, or 1 when it failed. Raises: ConfigError (exit code 2)."""
    arguments = _parser().parse_args(words)
    try:
        with readable(arguments.data / DATABASE_NAME):
            return _run(arguments)
    except CuelightError as error:
        print(f"cuelight recommender: {error.message}", file=sys.stderr)
        return _EXIT_FAILED


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "serve":
        return _serve(arguments)
    if arguments.command == "import":
        return _import(arguments)
    if arguments.command == "export":
        return _export(arguments)
    if arguments.command == "backup":
        return _backup(arguments)
    if arguments.command == "fit":
        return _fit(arguments)
    if arguments.command == "train":
        return _train(arguments)
    if arguments.command == "experiments":
        return _experiments(arguments)
    return _evaluate(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight recommender", description="Learn what people like; recommend it.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_serve(commands.add_parser("serve", help="answer from a data folder, and learn into it"))
    _add_import(commands.add_parser("import", help="put files of interactions and items into a data folder"))
    _add_export(commands.add_parser("export", help="write interactions and items into files that import reads"))
    _add_backup(commands.add_parser("backup", help="copy a data folder's database, also while it is served from"))
    _add_fit(commands.add_parser("fit", help="fit every model once and say what it takes"))
    _add_train(commands.add_parser("train", help="train the sequential model on what a data folder holds"))
    _add_evaluate(commands.add_parser("evaluate", help="measure models side by side on a data folder"))
    _add_data(commands.add_parser("experiments", help="what came of the variants of experiments"))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_config(parser, "settings; flags win over it")
    for setting in _SERVE_FLAGS:
        parser.add_argument(setting.flag, dest=setting.dest, help=setting.text, **setting.options)


def _add_import(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    add_import_options(parser)


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--interactions", type=Path, metavar="FILE", help="*.csv or *.parquet; what counts, by default")
    parser.add_argument(
        "--items", type=Path, metavar="FILE", help="*.csv or *.parquet; items and what is known of them"
    )
    parser.add_argument("--all-events", action="store_true", help="also what no longer counts, and what was taken back")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there already")


def _add_backup(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FILE_OR_DIR", help="the copy; a folder can be served from at once"
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_config(parser, "the file that serve takes: its [models] and [data]")
    _add_models(parser, FITTED_NAMES)


def _add_train(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    for name, kind, text in _TRAIN_SETTINGS:
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=text)
    _add_threads(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_config(parser, "the file that serve takes: its [models] and [data]; flags win over it")
    _add_models(parser, MODEL_NAMES)
    parser.add_argument(
        "--skip", nargs="+", action="extend", choices=MODEL_NAMES, default=[], help="leave out one or more of them"
    )
    parser.add_argument(
        "--blend",
        nargs="+",
        action="append",
        default=[],
        metavar="MODEL=WEIGHT",
        help="measure a blend too, such as ease=0.8 als=0.2; repeat for more",
    )
    parser.add_argument(
        "--protocol",
        choices=["per-user", "last-out"],
        default="per-user",
        help="what is held out: a fifth of each user's likes, or the last one (default: per-user)",
    )
    parser.add_argument("--min-value", type=float, metavar="VALUE", help="instead of what is kept with the data")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of training sequential (default: 0)")
    _add_threads(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures too")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data folder")


def _add_config(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help=text)


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="cores to train on (default: 1)")


def _add_models(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    parser.add_argument(
        *("--model", "--models"), nargs="+", action="extend", choices=names, help="one or more of them (default: all)"
    )


def _serve(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.serve_command import serve_recommender  # noqa: PLC0415

    return serve_recommender(_config(arguments, sections_of(_SERVE_FLAGS, arguments)), server_version())


def _config(arguments: argparse.Namespace, above: Mapping[str, Any]) -> "RecommenderConfig":
    """Return what the file says, with the data folder and what else was given on the command line above it."""
    from cuelight.server.config_file import merge, read_toml  # noqa: PLC0415
    from cuelight.server.recommender.config import RecommenderConfig, build_recommender_config  # noqa: PLC0415

    below = read_toml(arguments.config, RecommenderConfig) if arguments.config else {}
    return build_recommender_config(merge(below, merge(above, {"data": {"folder": arguments.data}})))


def _import(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.importing.import_command import import_files  # noqa: PLC0415

    (interactions, items), min_value = sources_of(arguments), arguments.min_value
    if arguments.movielens_100k:
        if interactions or items:
            raise ConfigError("--movielens-100k: comes alone, without --interactions and --items")
        interactions, items = _fetched_movielens(arguments.cache_dir)
        min_value = _MOVIELENS_LIKED if min_value is None else min_value
    if interactions is None and items is None and min_value is None:
        raise ConfigError("import: expected --interactions, --items or --movielens-100k")
    return import_files(arguments.data, interactions, items, min_value, arguments.report)


def _fetched_movielens(cache_dir: Path) -> tuple[Source, Source]:
    movielens = importlib.import_module("cuelight.exporters.movielens")
    try:
        interactions, items = movielens.fetch_movielens(cache_dir)
    except movielens.WeightsError as error:
        raise ConfigError(str(error)) from error
    return Source(interactions), Source(items)


def _export(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.exporting.export_command import export_folder  # noqa: PLC0415

    if arguments.interactions is None and arguments.items is None:
        raise ConfigError("export: expected --interactions, --items or both")
    return export_folder(arguments.data, arguments.interactions, arguments.items, arguments.all_events, arguments.force)


def _backup(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.backup_command import back_up  # noqa: PLC0415

    return back_up(arguments.data, arguments.to)


def _fit(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.fit_command import fit_folder  # noqa: PLC0415
    from cuelight.server.recommender.model_set import ModelSettings  # noqa: PLC0415

    config = _config(arguments, {})
    settings = ModelSettings.of(config.models, config.data.max_liked_items)
    return fit_folder(arguments.data, arguments.model or FITTED_NAMES, settings, config.data.min_value)


def _train(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.trained.train_command import train_folder  # noqa: PLC0415

    told = {name: getattr(arguments, name) for name, _, _ in _TRAIN_SETTINGS}
    set_ones = {name: value for name, value in told.items() if value is not None}
    return train_folder(arguments.data, set_ones, _threads(arguments))


def _threads(arguments: argparse.Namespace) -> int:
    if arguments.threads < 1:
        raise ConfigError(f"--threads: got {arguments.threads}, expected 1 or more")
    return int(arguments.threads)


def _experiments(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.experiments.experiments_command import show_experiments  # noqa: PLC0415

    return show_experiments(arguments.data)


def _evaluate(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.evaluation.evaluate_command import evaluate_folder  # noqa: PLC0415
    from cuelight.server.recommender.model_set import ModelSettings  # noqa: PLC0415

    config = _config(arguments, {} if arguments.min_value is None else {"data": {"min_value": arguments.min_value}})
    return evaluate_folder(
        arguments.data,
        arguments.model,
        arguments.protocol,
        config.data.min_value,
        arguments.markdown,
        arguments.plot,
        arguments.seed,
        _threads(arguments),
        arguments.skip,
        [parse_blend("--blend", words) for words in arguments.blend],
        ModelSettings.of(config.models, config.data.max_liked_items),
    )
