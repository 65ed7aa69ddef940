"""Long text loses its middle and says how much of it."""

import re

import pytest

from cuelight.server.rpc.cut_text import cut_middle


@pytest.mark.parametrize("text", ["", "short", "x" * 200, "é" * 100])
def test_text_that_fits_stays_as_it_is(text: str) -> None:
    assert cut_middle(text, 200) == text


@pytest.mark.parametrize("text", ["x" * 201, "é" * 101, "🎧" * 100_000, "a\ud800b" * 100])
def test_longer_text_keeps_both_ends_and_says_what_is_missing(text: str) -> None:
    cut = cut_middle(text, 200)
    found = re.fullmatch(r"(.+) \[\.\.\. (\d+) of (\d+) bytes cut \.\.\.\] (.+)", cut)

    assert found is not None
    assert len(cut.encode()) <= 200
    assert int(found[3]) == len(text.encode(errors="replace"))
    assert text.encode(errors="replace").startswith(found[1].encode())
    assert text.encode(errors="replace").endswith(found[4].encode())
    assert 0 <= int(found[3]) - int(found[2]) - len((found[1] + found[4]).encode()) <= 6  # parts of two characters
