"""`cuelight recommender`: its own command line, with the exit codes of `cuelight`.

Each command imports what it needs when it runs.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from cuelight.server.errors import ConfigError, CuelightError
from cuelight.server.flags import FRONT_FLAGS, flag, sections_of
from cuelight.server.recommender.model_names import MAX_LIKED_ITEMS, MODEL_NAMES
from cuelight.server.version import server_version

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


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit code: 0, or 1 when it failed. Raises: ConfigError (exit code 2)."""
    arguments = _parser().parse_args(words)
    try:
        if arguments.command == "serve":
            return _serve(arguments)
        if arguments.command == "import":
            return _import(arguments)
        if arguments.command == "fit":
            return _fit(arguments)
        return _evaluate(arguments)
    except CuelightError as error:
        print(f"cuelight recommender: {error.message}", file=sys.stderr)
        return _EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight recommender", description="Learn what people like; recommend it.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_serve(commands.add_parser("serve", help="answer from a data folder, and learn into it"))
    _add_import(commands.add_parser("import", help="put files of interactions and items into a data folder"))
    _add_fit(commands.add_parser("fit", help="fit every model once and say what it takes"))
    _add_evaluate(commands.add_parser("evaluate", help="measure models side by side on a data folder"))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="settings; flags win over it")
    for setting in _SERVE_FLAGS:
        parser.add_argument(setting.flag, dest=setting.dest, help=setting.text, **setting.options)


def _add_import(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--interactions", type=Path, metavar="FILE", help="CSV, Parquet or a MovieLens file")
    parser.add_argument("--items", type=Path, metavar="FILE", help="the same; titles, tags and numbers of items")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.html", help="page on the data's quality (default: DIR/quality.html)"
    )
    parser.add_argument(
        "--movielens-100k", action="store_true", help="fetch and import MovieLens 100K (GroupLens: for research)"
    )
    parser.add_argument(
        "--min-value",
        type=float,
        metavar="VALUE",
        help="from here on a value is a like; kept with the data (default: 1)",
    )
    parser.add_argument("--cache-dir", type=Path, default=Path(".cache/weights"), help="where fetched files are kept")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_models(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_models(parser)
    parser.add_argument(
        "--protocol",
        choices=["per-user", "last-out"],
        default="per-user",
        help="what is held out: a fifth of each user's likes, or the last one (default: per-user)",
    )
    parser.add_argument("--min-value", type=float, metavar="VALUE", help="instead of what is kept with the data")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures too")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data folder")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", action="append", choices=MODEL_NAMES, help="repeat for more (default: all)")


def _serve(arguments: argparse.Namespace) -> int:
    from cuelight.server.config_file import merge, read_toml  # noqa: PLC0415
    from cuelight.server.recommender.config import RecommenderConfig, build_recommender_config  # noqa: PLC0415
    from cuelight.server.recommender.serve_command import serve_recommender  # noqa: PLC0415

    below = read_toml(arguments.config, RecommenderConfig) if arguments.config else {}
    above = merge(sections_of(_SERVE_FLAGS, arguments), {"data": {"folder": arguments.data}})
    return serve_recommender(build_recommender_config(merge(below, above)), server_version())


def _import(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.importing.import_command import import_files  # noqa: PLC0415

    interactions, items, min_value = arguments.interactions, arguments.items, arguments.min_value
    if arguments.movielens_100k:
        if interactions or items:
            raise ConfigError("--movielens-100k: comes alone, without --interactions and --items")
        interactions, items = _fetched_movielens(arguments.cache_dir)
        min_value = _MOVIELENS_LIKED if min_value is None else min_value
    if interactions is None and items is None and min_value is None:
        raise ConfigError("import: expected --interactions, --items or --movielens-100k")
    return import_files(arguments.data, interactions, items, min_value, arguments.report)


def _fetched_movielens(cache_dir: Path) -> tuple[Path, Path]:
    movielens = importlib.import_module("cuelight.exporters.movielens")
    try:
        interactions, items = movielens.fetch_movielens(cache_dir)
    except movielens.WeightsError as error:
        raise ConfigError(str(error)) from error
    return interactions, items


def _fit(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.fit_command import fit_folder  # noqa: PLC0415

    return fit_folder(arguments.data, arguments.model or MODEL_NAMES)


def _evaluate(arguments: argparse.Namespace) -> int:
    from cuelight.server.recommender.evaluation.evaluate_command import evaluate_folder  # noqa: PLC0415

    return evaluate_folder(
        arguments.data,
        arguments.model or MODEL_NAMES,
        arguments.protocol,
        arguments.min_value,
        arguments.markdown,
        arguments.plot,
    )
