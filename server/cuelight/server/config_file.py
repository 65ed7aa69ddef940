"""Settings from TOML and JSON: strict about names and types, so that a typo is an error and not a default.

    [server]            port = 8001
    [repository]        paths = ["models"]        relative to the file's own folder
    [limits] [engine] [log] [tls]                 fields as in `config.py`

A *sections* mapping (section -> field -> plain value) is what TOML, JSON and flags have in common: they are merged as
such, and only the result is built and checked.
"""

import dataclasses
import json
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cuelight.server.config import ServeConfig
from cuelight.server.errors import ConfigError

__all__ = ["Sections", "build", "build_config", "from_json", "merge", "read_toml", "to_json"]

Sections = Mapping[str, Mapping[str, Any]]
Config = TypeVar("Config")


def read_toml(path: Path, kind: type = ServeConfig) -> Sections:
    """Read a TOML file for a configuration of `kind`; relative paths in it are taken from the folder it is in.

    Raises: ConfigError when it cannot be read, is not TOML, or holds a key or a type that does not belong.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return _checked(content, str(path), path.parent, kind)


def merge(below: Sections, above: Sections) -> Sections:
    """Return the fields of both; where both have a field, `above` wins."""
    return {name: {**below.get(name, {}), **above.get(name, {})} for name in {**below, **above}}


def build_config(sections: Sections) -> ServeConfig:
    """Build the configuration of `cuelight serve` from its sections.

    Raises: ConfigError naming the field, its value and what is allowed.
    """
    return build(sections, ServeConfig)


def build(sections: Sections, kind: type[Config]) -> Config:
    """Build a configuration of `kind`, a dataclass of sections, from its sections.

    Raises: ConfigError naming the field, its value and what is allowed.
    """
    checked = _checked(sections, "settings", None, kind)
    types_of = _section_types(kind)
    needed: dict[str, Mapping[str, Any]] = {
        field.name: {} for field in dataclasses.fields(_dataclass(kind)) if _required(field)
    }
    built = {}
    for name, fields in {**needed, **checked}.items():
        cls = types_of[name]
        missing = [f.name for f in dataclasses.fields(cls) if _required(f) and f.name not in fields]
        if missing:
            raise ConfigError(f"{name}: {' and '.join(missing)} must be set too")
        built[name] = cls(**fields)
    return kind(**built)


def to_json(config: Any) -> str:
    """Return a configuration as JSON, for the process that `from_json` or `build` rebuilds it in."""
    sections = {name: values for name, values in dataclasses.asdict(config).items() if values is not None}
    return json.dumps(sections, default=lambda path: str(Path(path).absolute()))


def from_json(text: str) -> ServeConfig:
    """Build the configuration of `cuelight serve` that `to_json` wrote."""
    return build_config(json.loads(text))


def _checked(sections: Mapping[str, Any], origin: str, folder: Path | None, kind: type) -> Sections:
    """Return the sections with every value in its field's type."""
    types_of = _section_types(kind)
    checked: dict[str, dict[str, Any]] = {}
    for name, fields in sections.items():
        if name not in types_of:
            raise ConfigError(f"{origin}: unknown section [{name}]; sections are {', '.join(types_of)}")
        if not isinstance(fields, Mapping):
            raise ConfigError(f"{origin}: {name} must be a section, got {fields!r}")
        hints = get_type_hints(types_of[name])
        checked[name] = {}
        for key, value in fields.items():
            if key not in hints:
                raise ConfigError(f"{origin}: unknown key {name}.{key}; keys are {', '.join(hints)}")
            checked[name][key] = _converted(value, hints[key], f"{origin}: {name}.{key}", folder)
    return checked


def _section_types(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: _without_none(hints[field.name]) for field in dataclasses.fields(_dataclass(kind))}


def _dataclass(kind: type) -> Any:
    return kind


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(arm for arm in get_args(hint) if arm is not type(None))
    return hint


def _converted(value: Any, hint: Any, where: str, folder: Path | None) -> Any:
    hint = _without_none(hint)
    if value is None:
        return None
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        return tuple(_converted(item, get_args(hint)[0], where, folder) for item in value)
    if get_origin(hint) is Literal:
        hint = str
    if hint is Path and isinstance(value, str | Path):
        return Path(value) if folder is None else folder / value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"{where}: expected {_TYPE_NAMES[hint]}, got {value!r}")
    return value


_TYPE_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false", Path: "a path"}
