"""What is seen first on the page of a quality report, and how it looks."""

import re
from collections.abc import Sequence

import pytest

from cuelight.server.recommender.quality.page import as_page
from cuelight.server.recommender.quality.report import Figure, Finding, Level, Report

FIGURES = (Figure("events", "7"),)


@pytest.mark.parametrize(
    ("levels", "said", "kind"),
    [
        ((), "Findings: none", "note"),
        ((Level.NOTE, Level.NOTE), "Findings: 2 to know", "note"),
        ((Level.CHECK, Level.NOTE), "Findings: 1 to check, 1 to know", "check"),
        ((Level.REFUSED, Level.CHECK), "Findings: 1 refused, 1 to check", "refused"),
    ],
)
def test_how_grave_the_findings_are_is_said_first(levels: Sequence[Level], said: str, kind: str) -> None:
    findings = tuple(Finding(level, "odd", 1, None, "look") for level in levels)

    page = as_page(Report("x.csv", FIGURES, findings, ()), {}, None)

    assert page.index(f'<p class="verdict {kind}">{said}</p>') < page.index("<table")


def test_the_page_is_dark_where_the_readers_system_is() -> None:
    page = as_page(Report("x.csv", FIGURES, (), ()), {}, None)

    named = set(re.findall(r"var\((--[a-z0-9]+)\)", page))
    light, dark = (set(re.findall(r"(--[a-z0-9]+):", half)) for half in page.split("@media (prefers-color-scheme", 1))
    assert "color-scheme: light dark" in page
    assert named == light == dark
