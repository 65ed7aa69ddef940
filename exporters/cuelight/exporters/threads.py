"""One thread for PyTorch and ONNX Runtime alike, so that a proof or a timing does not depend on the machine's cores."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnxruntime as ort
import torch

__all__ = ["one_thread", "open_on_one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread until the block is left.

    Threads that wait for each other cost small models more than they gain, above all on cores that others use too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def open_on_one_thread(model: Path | bytes) -> ort.InferenceSession:
    """Open a model file, or its bytes, on the CPU with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
