"""Calls the user's factory and returns the module it makes."""

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.inputs import parse_pair
from cuelight.exporters.own.locate import locate
from cuelight.exporters.user_code import line_of

__all__ = ["made_by"]


def made_by(target: str, arguments: Sequence[str] = ()) -> nn.Module:
    """Return the module of a target: what a callable makes with these NAME=VALUE arguments, or what is there already.

    A value is read as JSON (numbers, true, null, lists); what is none is a string.

    Raises: ExportError when there is no such callable, it cannot be called so, it fails, or returns something else.
    """
    factory = locate(target)
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise ExportError(f"{target} is {type(factory).__name__}, expected a callable that returns an nn.Module")
    pairs = [parse_pair("--factory-arg", text) for text in arguments]
    module = _called(target, factory, {name: _value(text) for name, text in pairs})
    if not isinstance(module, nn.Module):
        raise ExportError(f"{target} returned {type(module).__name__}, expected an nn.Module")
    return module


def _called(target: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        signature = inspect.signature(factory)
        signature.bind(**arguments)
    except TypeError as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "no arguments"
        raise ExportError(
            f"{target}{signature} cannot be called with {given}: {error}; arguments are given as "
            "--factory-arg NAME=VALUE"
        ) from error
    try:
        return factory(**arguments)
    except Exception as error:
        # The user's own code: whatever it raises, there is no module.
        where = line_of(error)
        text = f"{target} failed: {type(error).__name__}: {error}"
        raise ExportError(f"{text}\n  at {where}" if where else text) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
