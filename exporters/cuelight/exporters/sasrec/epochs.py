"""How far a training is, on stderr: a bar in a terminal, a line now and then where nobody watches."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from tqdm import tqdm

__all__ = ["Tell", "epochs", "plain_epochs"]

Tell = Callable[[Mapping[str, str]], None]
"""Takes the figures of an epoch that is done."""

_BETWEEN_LINES_S = 5.0


@contextmanager
def epochs(what: str, total: int, done: int, quiet: bool) -> Iterator[Tell]:
    """Show that `done` of `total` epochs are done, and each one that follows."""
    if not quiet and not sys.stderr.isatty():
        with plain_epochs(what, total, done, sys.stderr, monotonic) as tell:
            yield tell
        return
    with tqdm(total=total, initial=done, desc=what, unit="epoch", disable=quiet) as bar:

        def show(figures: Mapping[str, str]) -> None:
            bar.set_postfix(figures)
            bar.update()

        yield show


@contextmanager
def plain_epochs(what: str, total: int, done: int, out: TextIO, clock: Callable[[], float]) -> Iterator[Tell]:
    """Write a line at the start, one at most every 5 s of `clock`, and one at the end if anything was done."""
    print(f"{what}: {done} of {total} epochs at most", file=out, flush=True)
    last, written_s = "", clock()

    def show(figures: Mapping[str, str]) -> None:
        nonlocal done, last, written_s
        done += 1
        last = f"{what}: epoch {done}, {', '.join(f'{name} {value}' for name, value in figures.items())}"
        if clock() - written_s >= _BETWEEN_LINES_S:
            written_s = clock()
            print(last, file=out, flush=True)
            last = ""

    yield show
    if last:
        print(last, file=out, flush=True)
