"""`cuelight export package.module:factory`: from what was typed to the spec to export."""

import argparse
from collections.abc import Callable
from typing import Any

from cuelight.exporters.errors import ExportError
from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.own.locate import locate
from cuelight.exporters.own.options import given_options, refuse
from cuelight.exporters.own.own_spec import OwnModel, own_spec
from cuelight.exporters.spec import ExportSpec

__all__ = ["spec_of"]

_RENAMED = {"factory_arg": "factory_args", "input": "inputs", "axis": "axes", "output": "outputs", "asset": "assets"}
_FOR_QUANTIZE = ("calibration", "accuracy", "may_lose")


def spec_of(target: str, options: argparse.Namespace, say: Callable[[str], None]) -> ExportSpec | FilesSpec:
    """Return the spec a target names: one that is there, or one made of a factory and the options.

    Raises: ExportError naming what was said wrongly.
    """
    found = locate(target)
    given = given_options(options)
    if isinstance(found, ExportSpec | FilesSpec):
        refuse(given, f"{target} is a whole spec, which says this itself")
        return found
    if "name" not in given:
        raise ExportError(f"{target}: --name is missing: under which name is it to be served?")
    if options.quantize is None:
        refuse({name: given[name] for name in _FOR_QUANTIZE if name in given}, "goes with --quantize")
    fields: dict[str, Any] = {
        _RENAMED.get(name, name): tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    fields["outputs"] = tuple(name for text in fields.get("outputs", ()) for name in text.split(","))
    return own_spec(OwnModel(target, **fields), say)
