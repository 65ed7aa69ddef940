"""What PyTorch decides about sizes while it traces: which it fixes, on which line of the user's model.

`torch.export` says at the end that an axis "was specialized", but not where. Its logger says it at the moment it
happens, so a handler that is called then can look at the stack for the user's line. The texts are those of torch 2.9 to
2.13; where they change, errors lose the line and keep the rest.
"""

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cuelight.exporters.user_code import is_users, where_in

__all__ = ["Fixed", "TraceLog", "listening"]

_LOGGER = "torch.fx.experimental.symbolic_shapes"
_RECURRENT = "torch/nn/modules/rnn.py"
_CREATED = re.compile(r"create_symbol (\w+) = \d+ for L\['(\w+)'\]\.size\(\)\[(\d+)\]")
_FIXED = re.compile(r"set_replacement (\w+) = (\d+) ")
_BRANCHED = re.compile(r"eval (?!\[guard suppressed\])(.+?) \[guard added\] \((\S+):(\d+) in ")


@dataclass(frozen=True, slots=True)
class Fixed:
    """An axis that the model's code works for one size of only, and the line that made it so.

    `unrolled` says that it did so within a recurrent layer of PyTorch's.
    """

    argument: str
    axis: int
    size: int
    line: str | None
    unrolled: bool


@dataclass(slots=True)
class TraceLog:
    """What was heard while tracing. `branches` are the user's own lines that ask for a size, with what was assumed."""

    fixed: list[Fixed] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    symbols: dict[str, tuple[str, int]] = field(default_factory=dict)


@contextmanager
def listening() -> Iterator[TraceLog]:
    """Listen to PyTorch's logger of symbolic sizes, and keep it from the terminal, until the block is left."""
    heard = TraceLog()
    logger = logging.getLogger(_LOGGER)
    before = logger.level, logger.propagate, logger.handlers[:]
    logger.handlers = [_Listener(heard)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield heard
    finally:
        logger.setLevel(before[0])
        logger.propagate, logger.handlers = before[1:]


class _Listener(logging.Handler):
    def __init__(self, heard: TraceLog) -> None:
        super().__init__(logging.INFO)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if created := _CREATED.search(text):
            self._heard.symbols[created[1]] = (created[2], int(created[3]))
        elif (fixed := _FIXED.search(text)) and fixed[1] in self._heard.symbols:
            argument, axis = self._heard.symbols[fixed[1]]
            frame = _users_frame()
            line = where_in(frame.filename, frame.lineno or 0) if frame else None
            unrolled = any(frame.filename.endswith(_RECURRENT) for frame in traceback.extract_stack())
            self._heard.fixed.append(Fixed(argument, axis, int(fixed[2]), line, unrolled))
        elif branched := _BRANCHED.search(text):
            self._branched(branched[1], branched[2], int(branched[3]))

    def _branched(self, guard: str, file: str, number: int) -> None:
        """Note a size that the user's own line asked for, rather than PyTorch on its behalf."""
        frame = _users_frame()
        if frame is None or frame.lineno != number or not frame.filename.endswith(file.lstrip(".")):
            return
        for symbol, (argument, axis) in self._heard.symbols.items():
            guard = re.sub(rf"\b{symbol}\b", f"{argument}.shape[{axis}]", guard)
        self._heard.branches.append(f"{where_in(frame.filename, number)} (assumed: {guard})")


def _users_frame() -> traceback.FrameSummary | None:
    """Return the deepest frame of the model; whoever called the export lies above PyTorch's entry and is not meant."""
    stack = traceback.extract_stack()
    entry = next((index for index, frame in enumerate(stack) if "/torch/export/" in frame.filename), len(stack))
    return next((frame for frame in reversed(stack[entry:]) if is_users(frame.filename)), None)
