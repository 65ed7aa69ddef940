"""Keeps what PyTorch and its exporter say of their internals from the terminal: errors and parity say what counts."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_LOGGERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "torch.export", "torch.fx", "onnxscript")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop PyTorch's warnings, and its log below errors, until the block is left."""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
