"""The command `cuelight`: reads the command line, runs one of its commands, returns the exit code.

    0   done; for `serve`: asked to stop, and stopped
    1   failed while running; for `models --model-repository`: a model failed to load or to prove itself
    2   the command line or the configuration is unusable

Each command imports what it needs when it runs, so that `--help` is there at once.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.flags import FRONT_FLAGS, flag, sections_of
from cuelight.server.version import server_version

__all__ = ["main"]

_EXIT_CONFIG = 2
_EXPORTERS_NEED = ("cuelight", "numpy", "onnx", "onnxruntime", "safetensors", "torch", "tqdm")
_RECOMMENDER_NEEDS = ("implicit", "numpy", "prometheus_client", "pyarrow", "rich", "scipy", "threadpoolctl")
_TEXT_COMMANDS = {
    "embed": "turn texts into vectors",
    "similar": "find the texts most like one",
    "nearest": "find the words nearest to one",
}

_SERVE_FLAGS = (
    flag("--model-repository", "repository.paths", "folder of models; repeat for more", action="append", metavar="DIR"),
    flag(
        "--model-control-mode",
        "repository.control_mode",
        "who loads models after the start: nobody, RPCs, or changes of the folder (default: none)",
        choices=["none", "explicit", "poll"],
    ),
    flag(
        "--load-model",
        "repository.load_models",
        "with explicit: a model to load at the start, * for all; repeat for more",
        action="append",
        metavar="NAME",
    ),
    flag(
        "--poll-interval",
        "repository.poll_interval_s",
        "with poll: between two looks (default: 15)",
        type=float,
        metavar="S",
    ),
    flag("--port", "server.port", "gRPC port, 0 for any free one (default: 8001)", type=int, metavar="PORT"),
    flag(
        "--metrics-port",
        "server.metrics_port",
        "port of /metrics and /health (default: 8002)",
        type=int,
        metavar="PORT",
    ),
    *FRONT_FLAGS,
    flag("--device", "engine.device", "what models run on (default: auto)", choices=["auto", "cpu", "cuda"]),
    flag("--cores", "engine.cores", "cores for models (default: all this process may use)", type=int, metavar="N"),
    flag(
        "--max-sequences",
        "sequences.max_sequences",
        "live sequences of one model on one engine (default: 10000)",
        type=int,
        metavar="N",
    ),
    flag(
        "--token-key-file",
        "sequences.token_key_file",
        "TOML file of the keys that seal resume tokens, shared by a fleet (cuelight token-key makes one)",
        metavar="FILE",
    ),
    flag(
        "--speech-model",
        "speech.default_model",
        "model that recognizes speech where none is named (default: the only one)",
        metavar="NAME",
    ),
    flag(
        "--max-voices",
        "speech.max_voices",
        "voices recognized at once, at most (default: as many as real time allows)",
        type=int,
        metavar="N",
    ),
    flag(
        "--text-model",
        "text.default_model",
        "model that embeds text where none is named (default: the only one)",
        metavar="NAME",
    ),
    flag(
        "--word-model",
        "text.default_word_model",
        "model that embeds words where none is named (default: the only one)",
        metavar="NAME",
    ),
    flag(
        "--transduction-model",
        "text.default_transduction_model",
        "model that transduces text where none is named (default: the only one)",
        metavar="NAME",
    ),
    flag(
        "--vision-model",
        "vision.default_model",
        "model that names images where none is named (default: the only one)",
        metavar="NAME",
    ),
    flag(
        "--max-image-bytes",
        "vision.max_image_bytes",
        "largest image file taken (default: 16777216)",
        type=int,
        metavar="N",
    ),
    flag(
        "--max-pixels",
        "vision.max_pixels",
        "largest picture decoded (default: 25000000)",
        type=int,
        metavar="N",
    ),
    flag("--trace-folder", "log.trace_folder", "where traces go (default: the working directory)", metavar="DIR"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's own) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["export"]:
            return _export(words[1:])
        if words[:1] == ["transcribe"]:
            return int(importlib.import_module("cuelight.client.transcribe_command").main(words[1:]))
        if words[:1] and words[0] in _TEXT_COMMANDS:
            return int(importlib.import_module("cuelight.client.text_command").main(words))
        if words[:1] == ["pronounce"]:
            return int(importlib.import_module("cuelight.client.pronounce_command").main(words[1:]))
        if words[:1] == ["infer"]:
            return int(importlib.import_module("cuelight.client.infer_command").main(words[1:]))
        if words[:1] == ["classify"]:
            return int(importlib.import_module("cuelight.client.classify_command").main(words[1:]))
        if words[:1] == ["recommender"]:
            return _recommender(words[1:])
        arguments = _parser().parse_args(words)
        if arguments.command == "serve":
            return _serve(arguments)
        if arguments.command == "token-key":
            return _token_key(arguments.id)
        return _models(arguments)
    except ConfigError as error:
        print(f"cuelight: error: {error}", file=sys.stderr)
        return _EXIT_CONFIG
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight", description="Serve trained models over gRPC.")
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="serve the models of one or more repositories")
    serve.add_argument("--config", type=Path, metavar="FILE.toml", help="settings; flags win over it")
    for setting in _SERVE_FLAGS:
        serve.add_argument(setting.flag, dest=setting.dest, help=setting.text, **setting.options)
    models = commands.add_parser("models", help="list a running server's models, or check a repository offline")
    where = models.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", metavar="HOST:PORT", help="a running server")
    where.add_argument("--model-repository", action="append", metavar="DIR", help="load and prove every model in it")
    models.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="with --url: use TLS, trusting this authority (PEM)"
    )
    models.add_argument(
        "--tls-identity", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"), help="with --tls-ca: who we are (PEM)"
    )
    token_key = commands.add_parser("token-key", help="print a new key for resume tokens, as a key file has it")
    token_key.add_argument("id", nargs="?", help="its name (default: today's date)")
    commands.add_parser("infer", add_help=False, help="run a model on arrays (cuelight infer --help)")
    commands.add_parser("transcribe", add_help=False, help="turn speech into text (cuelight transcribe --help)")
    commands.add_parser("pronounce", add_help=False, help="say how words are said (cuelight pronounce --help)")
    for name, text in _TEXT_COMMANDS.items():
        commands.add_parser(name, add_help=False, help=f"{text} (cuelight {name} --help)")
    commands.add_parser("classify", add_help=False, help="say what is on photos (cuelight classify --help)")
    commands.add_parser(
        "recommender", add_help=False, help="recommend what people will like (cuelight recommender --help)"
    )
    commands.add_parser("export", add_help=False, help="turn trained models into a repository (cuelight export --help)")
    return parser


class _ShowVersion(argparse.Action):
    """Looks the version up when asked for, and not at every start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"cuelight {server_version()}")
        parser.exit()


def _serve(arguments: argparse.Namespace) -> int:
    from cuelight.server.config_file import build_config, merge, read_toml  # noqa: PLC0415
    from cuelight.server.serve_command import serve  # noqa: PLC0415

    sections = sections_of(_SERVE_FLAGS, arguments)
    below = read_toml(arguments.config) if arguments.config else {}
    return serve(build_config(merge(below, sections)), server_version())


def _models(arguments: argparse.Namespace) -> int:
    if arguments.url:
        from cuelight.server.models_command import list_served  # noqa: PLC0415

        return list_served(arguments.url, arguments.tls_ca, arguments.tls_identity)
    from cuelight.server.check_command import check_offline  # noqa: PLC0415

    return check_offline([Path(folder) for folder in arguments.model_repository])


def _token_key(key_id: str | None) -> int:
    from cuelight.server.inference.token_keys import new_key_entry  # noqa: PLC0415

    print(new_key_entry(key_id or datetime.now(UTC).date().isoformat()), end="")
    return 0


def _recommender(words: list[str]) -> int:
    try:
        return int(importlib.import_module("cuelight.server.recommender.cli").main(words))
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _RECOMMENDER_NEEDS:
            raise
        raise ConfigError(
            f'recommender needs {missing}, which is not installed: pip install "cuelight[server,recommender]"'
        ) from error


def _export(words: list[str]) -> int:
    try:
        exporters = importlib.import_module("cuelight.exporters.cli")
        return int(exporters.main(words) or 0)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXPORTERS_NEED:
            raise
        raise ConfigError(
            f'export needs {error.name}, which is not installed: pip install "cuelight[exporters]"'
        ) from error
