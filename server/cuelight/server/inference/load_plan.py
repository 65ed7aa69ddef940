"""What a load is going to do: which versions, from which folder, by which configuration. No model is opened here."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cuelight.server.inference.config_text import ConfigText, parse_pbtxt
from cuelight.server.inference.load_override import LoadOverride
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_config import check_identity
from cuelight.server.inference.repository_scan import ModelFolder, find_model
from cuelight.server.inference.version_policy import select_versions

__all__ = ["LoadPlan", "PlanFailed", "make_plan", "read_config"]

_CONFIG_FILE = "config.pbtxt"

_log = logging.getLogger("cuelight.repository")


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The versions of a model that are to serve, ascending."""

    folder: ModelFolder
    config: ConfigText
    versions: tuple[int, ...]
    temporary: Path | None = None
    """Where the files that came with a request were written to."""

    def clean_up(self) -> None:
        """Remove what was written for this load."""
        if self.temporary is not None:
            shutil.rmtree(self.temporary)


class PlanFailed(Exception):
    """No version of a model can be chosen; `folder` is what was looked at, None when it is not there."""

    def __init__(self, folder: ModelFolder | None, reason: str) -> None:
        super().__init__(reason)
        self.folder = folder


def make_plan(paths: Sequence[Path], name: str, override: LoadOverride | None) -> LoadPlan:
    """Look at the model's folder, or at the files that replace it, and choose versions.

    Raises: PlanFailed with the reason.
    """
    temporary = folder = None
    try:
        temporary = override.write_files(name) if override and override.files else None
        folder = _find(paths if temporary is None else [temporary], name)
        config = override.config if override and override.config else read_config(folder.path)
        check_identity(name, config)
        versions = select_versions(config.message.version_policy, folder.versions, config.source)
    except (ModelLoadError, OSError) as error:
        if temporary is not None:
            shutil.rmtree(temporary)
        raise PlanFailed(folder, str(error)) from error
    for ignored in folder.ignored:
        _log.warning("model %s: folder %s is no version and is ignored", name, folder.path / ignored)
    return LoadPlan(folder, config, tuple(versions), temporary)


def read_config(folder: Path) -> ConfigText:
    """Return a model's configuration, empty where it has no config.pbtxt.

    Raises: ModelLoadError naming the file and what is wrong with it.
    """
    path = folder / _CONFIG_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ConfigText(source=str(folder))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"{path}: cannot be read: {error}") from error
    return parse_pbtxt(text, str(path))


def _find(paths: Sequence[Path], name: str) -> ModelFolder:
    folder = find_model(paths, name)
    if folder is None:
        raise ModelLoadError(f"no such folder in {', '.join(str(path) for path in paths)}")
    if folder.duplicate_of is not None:
        raise ModelLoadError(f"lies in {folder.duplicate_of} and in {folder.path}; one of them must go")
    return folder
