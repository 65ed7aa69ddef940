"""What a RepositoryModelLoad request may bring along: a configuration, and files in place of the model's folder.

Source: Triton's model repository extension, parameters `config` and `file:<version>/<file-name>`.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.config_text import ConfigText, parse_json
from cuelight.server.inference.loader import ModelLoadError

__all__ = ["LoadOverride", "override_of"]

_FILE_PREFIX = "file:"
_FILE_PATH = re.compile(r"[1-9][0-9]*/[A-Za-z0-9_][A-Za-z0-9_.\-]*|[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True)
class LoadOverride:
    """A configuration in place of config.pbtxt; files in place of the folder's, by path inside it."""

    config: ConfigText | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def write_files(self, name: str) -> Path:
        """Write the files as a model repository of one model and return its path; the caller removes it.

        Raises: ModelLoadError when they cannot be written; nothing is left then.
        """
        repository = Path(tempfile.mkdtemp(prefix="cuelight-load-"))
        try:
            for path, content in self.files.items():
                target = repository / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        except OSError as error:
            shutil.rmtree(repository)
            raise ModelLoadError(f"the files that were sent cannot be written: {error}") from error
        return repository


def override_of(parameters: Mapping[str, Any]) -> LoadOverride | None:
    """Return what the request's parameters (ModelRepositoryParameter by name) override; None for nothing.

    Raises: InvalidRequest naming the parameter, what came and what is taken.
    """
    config: ConfigText | None = None
    files: dict[str, bytes] = {}
    for key, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if key == "config":
            _check_kind(key, choice, "string_param")
            config = _config(parameter.string_param)
        elif key.startswith(_FILE_PREFIX):
            _check_kind(key, choice, "bytes_param")
            path = key.removeprefix(_FILE_PREFIX)
            if not _FILE_PATH.fullmatch(path):
                raise InvalidRequest(f'parameter "{key}": expected file:VERSION/NAME or file:NAME, of plain names')
            files[path] = parameter.bytes_param
        else:
            raise InvalidRequest(f'parameter "{key}": unknown; known are "config" and "file:VERSION/NAME"')
    if files and config is None:
        raise InvalidRequest('parameter "config": missing; files that replace a model\'s folder need one beside them')
    return LoadOverride(config, files) if config is not None else None


def _config(text: str) -> ConfigText:
    try:
        return parse_json(text, 'parameter "config"')
    except ModelLoadError as error:
        raise InvalidRequest(str(error)) from error


def _check_kind(key: str, came: str | None, expected: str) -> None:
    if came != expected:
        raise InvalidRequest(f'parameter "{key}": expected {expected}, got {came or "nothing"}')
