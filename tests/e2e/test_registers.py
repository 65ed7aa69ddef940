"""The rule by which answers under concurrent changes are judged."""

import pytest

from tests.e2e.registers import Change, Register


@pytest.mark.parametrize(
    ("changes", "asked", "possible"),
    [
        ([], (1, 2), "a"),
        ([("b", 3, 4)], (1, 2), "a"),
        ([("b", 3, 4)], (5, 6), "b"),
        ([("b", 3, 6)], (1, 4), "ab"),
        ([("b", 3, 5)], (4, 6), "ab"),
        ([("b", 3, float("inf"))], (8, 9), "ab"),
        ([("b", 1, 2), ("c", 3, 4)], (5, 6), "c"),
        ([("b", 1, 3), ("c", 2, 4)], (5, 6), "bc"),
        ([("b", 1, 3), ("c", 2, 4), ("d", 5, 6)], (7, 8), "d"),
        ([("b", 1, 3), ("c", 4, 9)], (5, 6), "bc"),
    ],
)
def test_what_a_register_may_hold(
    changes: list[tuple[str, float, float]], asked: tuple[float, float], possible: str
) -> None:
    register = Register.holding("a")
    register.changes += [Change(*change) for change in changes]

    assert "".join(register.possible(*asked)) == possible
