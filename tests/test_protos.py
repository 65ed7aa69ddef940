"""The wire contract explains itself: every message, field, enum value and RPC has a comment."""

import re
from pathlib import Path

import pytest

PROTOS = sorted((Path(__file__).parent.parent / "protos").rglob("*.proto"))

DECLARATION = re.compile(r"\s*(?:(?:message|enum|service|oneof) \w+ \{|rpc \w+\(|[\w.<>, ]+ = \d+;)")


@pytest.mark.parametrize("path", PROTOS, ids=lambda path: path.name)
def test_every_declaration_follows_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    declarations = [number for number, line in enumerate(lines) if DECLARATION.match(line)]

    bare = [lines[number] for number in declarations if not lines[number - 1].lstrip().startswith("// ")]

    assert declarations
    assert bare == []
    assert not [line for line in lines if "TODO" in line or len(line) > 120]


def test_declarations_are_recognized_as_such() -> None:
    assert sum(len(DECLARATION.findall(path.read_text(encoding="utf-8"))) for path in PROTOS) > 400
