"""Flags that set fields of a configuration, and those that every server has."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["FRONT_FLAGS", "Flag", "flag", "sections_of"]


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of a serve command that sets one field of the configuration."""

    flag: str
    section: str
    field: str
    text: str
    options: Mapping[str, Any]

    @property
    def dest(self) -> str:
        """Where argparse puts the value."""
        return f"{self.section}.{self.field}"


def flag(name: str, target: str, text: str, **options: Any) -> Flag:
    """Return a flag for the field `target`, as `section.field`; `options` are those of `add_argument`."""
    section, field = target.split(".")
    return Flag(name, section, field, text, options)


def sections_of(flags: Sequence[Flag], arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what was given on the command line, by section and field."""
    sections: dict[str, dict[str, Any]] = {}
    for one in flags:
        value = getattr(arguments, one.dest)
        if value is not None:
            sections.setdefault(one.section, {})[one.field] = value
    return sections


FRONT_FLAGS = (
    flag("--host", "server.host", "address to listen on (default: 0.0.0.0, every interface)", metavar="ADDRESS"),
    flag("--front", "server.front", "what speaks HTTP/2 (default: auto)", choices=["auto", "envoy", "grpcio"]),
    flag(
        "--grace-period",
        "server.grace_period_s",
        "from SIGTERM until calls are cut (default: 30)",
        type=float,
        metavar="S",
    ),
    flag("--log-level", "log.level", "default: info", choices=["debug", "info", "warning", "error"]),
    flag("--log-format", "log.format", "default: text", choices=["text", "json"]),
    flag("--access-log", "log.access_log", "log every call", action="store_true", default=None),
    flag("--tls-certificate", "tls.certificate_file", "PEM file; turns TLS on", metavar="FILE"),
    flag("--tls-private-key", "tls.private_key_file", "PEM file", metavar="FILE"),
    flag(
        "--tls-client-ca", "tls.client_ca_file", "PEM file; clients must show a certificate it signed", metavar="FILE"
    ),
)
