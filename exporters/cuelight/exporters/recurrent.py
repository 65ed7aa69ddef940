"""Keeps recurrent layers whole while they are traced, so that their time axis may be free.

`torch.export` unrolls nn.LSTM and nn.GRU over time, which fixes its size. `torch.onnx` has replacements that do not,
and puts them in place while it traces a module itself; we trace ourselves, to see the errors, and so put them there.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["recurrent_layers_whole"]

_PATCHES = ("register_lstm_while_loop_decomposition", "register_gru_while_loop_decomposition")


@contextmanager
def recurrent_layers_whole() -> Iterator[None]:
    """Put PyTorch's replacements in place until the block is left; those that this version has, they are not public."""
    with ExitStack() as stack:
        try:
            from torch.export import _patches  # noqa: PLC0415 (may not be there)
        except ImportError:
            yield
            return
        for name in _PATCHES:
            if hasattr(_patches, name):
                stack.enter_context(getattr(_patches, name)())
        yield
