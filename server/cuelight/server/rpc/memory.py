"""Memory once everything is loaded: what will live as long as the process is taken out of the garbage collector's rounds,
and what loading left over goes back to the system."""

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
