"""Lines of another process: complete ones come out, whatever the pieces; long ones are cut and say how much."""

import pytest

from cuelight.server.rpc.line_cutter import LineCutter

TEXT = "eins\n\nzwei ü\ndrei".encode()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_lines_come_out_whole_however_they_come_in(size: int) -> None:
    cutter = LineCutter(100)
    lines = [line for start in range(0, len(TEXT), size) for line in cutter.feed(TEXT[start : start + size])]

    assert lines == ["eins\n", "\n", "zwei ü\n"]
    assert list(cutter.end()) == ["drei\n"]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_long_line_is_cut_and_the_next_one_is_not(size: int) -> None:
    cutter = LineCutter(10)
    text = b"x" * 25 + b"\n" + b"y" * 10 + b"\n"
    lines = [line for start in range(0, len(text), size) for line in cutter.feed(text[start : start + size])]

    assert lines == ["xxxxxxxxxx [... 15 bytes cut]\n", "yyyyyyyyyy\n"]
    assert list(cutter.end()) == []


def test_no_more_of_a_line_without_an_end_is_held_than_is_handed_on() -> None:
    cutter = LineCutter(10)
    for _ in range(1000):
        assert list(cutter.feed(b"z" * 1000)) == []

    assert list(cutter.end()) == ["zzzzzzzzzz [... 999990 bytes cut]\n"]
