"""From `package.module:attribute` or `path/to/file.py:attribute` to the object it names."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from cuelight.exporters.errors import ExportError
from cuelight.exporters.user_code import line_of

__all__ = ["is_target", "locate"]


def is_target(text: str) -> bool:
    """Whether a word names something in a module, rather than a registered model."""
    return ":" in text


def locate(target: str) -> Any:
    """Return the object. A file is imported from where it lies; modules are also looked for in the working directory.

    Raises: ExportError when there is no such file, module or attribute, or when importing it fails.
    """
    where, _, attribute = target.rpartition(":")
    if not where or not attribute:
        raise ExportError(f'"{target}": expected package.module:factory or path/to/file.py:factory')
    module = _from_file(Path(where)) if where.endswith(".py") else _from_name(where)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            public = [key for key in vars(module) if not key.startswith("_") and callable(getattr(module, key))]
            raise ExportError(
                f'"{target}": {where} has no "{attribute}"; it has {", ".join(public) or "nothing callable"}'
            )
        found = getattr(found, name)
    return found


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ExportError(f"{path}: no such file")
    # What lies beside the file can be imported by it, as when Python runs the file itself.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # there is a loader for every .py file
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered, because dataclasses and pickles look their own module up by name.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise _import_failed(str(path), error) from error
    return module


def _from_name(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ExportError(
                f'no module "{error.name}": it is neither installed nor in {Path.cwd()}; a file is given as '
                "path/to/file.py:factory"
            ) from error
        raise _import_failed(name, error) from error
    except Exception as error:
        raise _import_failed(name, error) from error


def _import_failed(name: str, error: Exception) -> ExportError:
    """Say why the user's code could not be imported; it may raise anything."""
    where = line_of(error)
    return ExportError(
        f"importing {name} failed: {type(error).__name__}: {error}" + (f"\n  at {where}" if where else "")
    )
