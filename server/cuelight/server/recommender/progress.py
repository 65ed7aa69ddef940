"""How far a long command is, on stderr: a bar in a terminal, a plain line now and then where nobody watches.

Facts go to stdout, so a command's output can be kept without its progress.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

__all__ = ["Advance", "plain_progress", "progress"]

Advance = Callable[[int], None]
"""Tells that so many more are done."""

_BETWEEN_LINES_S = 5.0


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Advance]:
    """Show that something is being done, and how much of it where `total` is known; a terminal is left clean."""
    if not sys.stderr.isatty():
        with plain_progress(what, total, sys.stderr, monotonic) as advance:
            yield advance
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.update(task, advance=more)


@contextmanager
def plain_progress(what: str, total: int | None, out: TextIO, clock: Callable[[], float]) -> Iterator[Advance]:
    """Write a line at the start, and one at most every 5 s of `clock` while it goes on."""
    print(what, file=out, flush=True)
    done, written_s = 0, clock()

    def advance(more: int) -> None:
        nonlocal done, written_s
        done += more
        if clock() - written_s >= _BETWEEN_LINES_S:
            written_s = clock()
            share = f" of {total:,}" if total is not None else ""
            print(f"{what}: {done:,}{share}", file=out, flush=True)

    yield advance
