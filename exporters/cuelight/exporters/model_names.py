"""Which names a model, its tensors and its files may have."""

import re
from collections import Counter

from cuelight.exporters.errors import ExportError
from cuelight.exporters.spec import ExportSpec

__all__ = ["RESERVED_FILES", "check_files", "check_model_name", "check_names"]

RESERVED_FILES = ("model.onnx", "golden.npz", "report.json", "report.html")
"""What an export itself writes into a version."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""One part of a path on any system, not hidden, and plain in a URL, a metric's label and a log line."""
_TENSOR_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def check_model_name(name: str) -> None:
    """Raise ExportError when a folder of a repository cannot have this name."""
    if not _MODEL_NAME.fullmatch(name):
        raise ExportError(
            f'"{name}" is no name of a model: expected letters, digits, "_", "-" and ".", not "-" or "." first, '
            "at most 128 of them"
        )


def check_names(spec: ExportSpec) -> None:
    """Raise ExportError when the model's name or one of its outputs' cannot be served, or a name comes twice."""
    check_model_name(spec.name)
    for name, count in Counter(spec.outputs).items():
        if count > 1:
            raise ExportError(f'{spec.name}: output "{name}" is named {count} times')
        if not _TENSOR_NAME.fullmatch(name):
            raise ExportError(f'{spec.name}: "{name}" is no name of a tensor: expected letters, digits, "_" and "."')
    for graph in spec.further:
        check_names(graph)
        if graph.name == "model":
            raise ExportError(f'{spec.name}: a further graph cannot be called "model": the first one is model.onnx')


def check_files(names: list[str]) -> None:
    """Raise ExportError when a further file of a version has the name of another, or one that an export writes."""
    for name, count in Counter(names).items():
        if name in RESERVED_FILES:
            raise ExportError(f'asset "{name}": the export writes a file of this name itself')
        if count > 1:
            raise ExportError(f'asset "{name}": given {count} times')
