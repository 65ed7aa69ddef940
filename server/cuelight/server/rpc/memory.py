"""Memory once all is loaded: what stays is spared the garbage collector's rounds, what is left over goes back."""

import ctypes
import gc

__all__ = ["settle_memory"]


def settle_memory() -> None:
    """Collect once, then exempt what is left from collection, and return free pages to the system (glibc only)."""
    gc.collect()
    gc.freeze()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    trim(0)
