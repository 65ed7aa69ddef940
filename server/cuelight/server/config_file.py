"""Settings from TOML and JSON: strict about names and types, so that a typo is an error and not a default.

    [server]            port = 8001
    [repository]        paths = ["models"]        relative to the file's own folder
    [limits] [engine] [log] [tls]                 fields as in `config.py`
    [[experiments]]       name = "home"           a list of tables, where the section is a tuple of dataclasses

A *sections* mapping (section -> field -> plain value, or section -> tables) is what TOML, JSON and flags have in
common: they are merged as such, and only the result is built and checked.
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

Sections = Mapping[str, Any]
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
    """Return the fields of both; where both have a field, or a list of tables, `above` wins."""
    return {
        name: {**below.get(name, {}), **fields} if isinstance(fields, Mapping) else fields
        for name, fields in {**below, **above}.items()
    }


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
    return kind(
        **{
            name: fields if _is_list(types_of[name]) else _made(types_of[name], fields, name)
            for name, fields in {**needed, **checked}.items()
        }
    )


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
    reader = _Reader(origin, folder)
    checked: dict[str, Any] = {}
    for name, fields in sections.items():
        if name not in types_of:
            raise ConfigError(f"{origin}: unknown section [{name}]; sections are {', '.join(types_of)}")
        if _is_list(types_of[name]):
            checked[name] = reader.converted(fields, types_of[name], name)
        elif isinstance(fields, Mapping):
            checked[name] = reader.fields(fields, types_of[name], name)
        else:
            raise ConfigError(f"{origin}: {name} must be a section, got {fields!r}")
    return checked


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """Turns plain values into those of fields. Relative paths are taken from `folder`; `origin` is for messages."""

    origin: str
    folder: Path | None

    def fields(self, values: Mapping[str, Any], kind: Any, path: str) -> dict[str, Any]:
        hints = get_type_hints(kind)
        for key in values:
            if key not in hints:
                raise ConfigError(f"{self.origin}: unknown key {path}.{key}; keys are {', '.join(hints)}")
        return {key: self.converted(value, hints[key], f"{path}.{key}") for key, value in values.items()}

    def converted(self, value: Any, hint: Any, path: str) -> Any:
        hint = _without_none(hint)
        if value is None:
            return None
        if get_origin(hint) is tuple:
            return self._list(value, get_args(hint)[0], path)
        if get_origin(hint) is Mapping:
            return self._mapping(value, get_args(hint)[1], path)
        if dataclasses.is_dataclass(hint):
            return self._table(value, hint, path)
        if get_origin(hint) is Literal:
            hint = str
        if hint is Path and isinstance(value, str | Path):
            return Path(value) if self.folder is None else self.folder / value
        if hint is float and type(value) is int:
            return float(value)
        if type(value) is not hint:
            raise ConfigError(f"{self.origin}: {path}: expected {_TYPE_NAMES[hint]}, got {value!r}")
        return value

    def _list(self, value: Any, hint: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{self.origin}: {path}: expected a list, got {value!r}")
        numbered = dataclasses.is_dataclass(hint)
        return tuple(
            self.converted(item, hint, f"{path}[{number}]" if numbered else path) for number, item in enumerate(value)
        )

    def _mapping(self, value: Any, hint: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{self.origin}: {path}: expected a table, got {value!r}")
        return {key: self.converted(item, hint, f"{path}.{key}") for key, item in value.items()}

    def _table(self, value: Any, kind: Any, path: str) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"{self.origin}: {path}: expected a table, got {value!r}")
        return _made(kind, self.fields(value, kind, path), f"{self.origin}: {path}")


def _made(kind: Any, fields: Mapping[str, Any], where: str) -> Any:
    missing = [field.name for field in dataclasses.fields(kind) if _required(field) and field.name not in fields]
    if missing:
        raise ConfigError(f"{where}: {' and '.join(missing)} must be set too")
    return kind(**fields)


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is tuple


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


_TYPE_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false", Path: "a path"}
