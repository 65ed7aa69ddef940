"""The line of the user's model that an error came from: the deepest frame that is neither PyTorch's nor ours."""

import linecache
import re
import sysconfig
import traceback
from pathlib import Path

__all__ = ["is_users", "line_in", "line_of", "where_in"]

_LIBRARIES = ("/site-packages/torch/", "/site-packages/onnxscript/", "/site-packages/onnx_ir/", "/site-packages/onnx/")
_STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_OURS = str(Path(__file__).parent)


def line_of(error: BaseException) -> str | None:
    """Return `model.py:12: if x.sum() > 0:` for the line an exception came from; None when no line is the user's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    return where_in(frames[-1].filename, frames[-1].lineno or 0) if frames else None


def line_in(stack_trace: str | None) -> str:
    """Return the deepest line of the user's in a stack that PyTorch's graph remembers as text; empty without one."""
    frames = [(file, int(number)) for file, number in _FRAME.findall(stack_trace or "")]
    users = [frame for frame in frames if is_users(frame[0])]
    return where_in(*users[-1]) if users else ""


def where_in(filename: str, number: int) -> str:
    """Return a line with its place and its text."""
    text = linecache.getline(filename, number).strip()
    return f"{filename}:{number}: {text}" if text else f"{filename}:{number}"


def is_users(filename: str) -> bool:
    """Whether a file is neither PyTorch's, nor Python's, nor the exporters'; generated code (`<...>`) is nobody's."""
    path = Path(filename).as_posix()
    if filename.startswith(("<", _OURS)) or any(library in path for library in _LIBRARIES):
        return False
    return not filename.startswith(_STANDARD_LIBRARY) or "/site-packages/" in path
