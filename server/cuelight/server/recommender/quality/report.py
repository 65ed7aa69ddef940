"""A report on quality: what was looked at, what was found and what to do about it, and figures to draw.

Users are never named in it but by how many they are, or by a row of the file they came in: a report lies in the data
folder, and of a user who is forgotten nothing may be left there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Chart", "Figure", "Finding", "Level", "Mark", "Report"]


class Level(StrEnum):
    """How much a finding matters."""

    REFUSED = "refused"
    """The import stops at it."""
    CHECK = "check"
    """It makes answers worse, if it is a mistake."""
    NOTE = "note"
    """Nothing has to be done."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number for people, as text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `count` of `total` are; None where they are no part of a whole."""

    level: Level
    what: str
    count: int
    total: int | None
    advice: str
    row: int | None = None
    """The first row of the interactions that is so, from 0 on."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A line between rows of a chart."""

    at: float
    """So many rows are before it; a fraction is within a row that is a range."""
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Numbers to draw, each series with a number a row."""

    title: str
    row_title: str
    rows: tuple[str, ...]
    series: Mapping[str, tuple[float, ...]]
    apart: bool = False
    """Whether each series has axes of its own: they are of different sizes."""
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything, in the order to read it in; findings that count nothing are left out."""

    title: str
    figures: tuple[Figure, ...]
    findings: tuple[Finding, ...]
    charts: tuple[Chart, ...]
