"""The one place where the server calls the exporters: by name, for they bring torch, which it does without."""

import importlib
from typing import Any

from cuelight.server.errors import ConfigError

__all__ = ["sasrec", "why_no_training"]

_ENTRY = "cuelight.exporters.sasrec.entry"
_NEEDED = "training needs torch: pip install torch 'cuelight[exporters]'"


def sasrec() -> Any:
    """Return the module that trains and exports the sequential model. Raises: ConfigError saying what to install."""
    try:
        return importlib.import_module(_ENTRY)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{_NEEDED} ({error.name} is missing)") from error


def why_no_training() -> str:
    """Return what is missing to train, nothing where nothing is."""
    try:
        sasrec()
    except ConfigError as error:
        return str(error)
    return ""
