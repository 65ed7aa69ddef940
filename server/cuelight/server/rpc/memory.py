"""Memory of a process that loads much once and then serves for weeks."""

import ctypes
import gc

__all__ = ["exempt_imports", "return_leftovers"]


def exempt_imports() -> None:
    """Spare everything that exists now the garbage collector's rounds: modules and classes live as long as the process.

    Called before models are loaded: what is exempt is never collected, and models come and go.
    """
    gc.collect()
    gc.freeze()


def return_leftovers() -> None:
    """Collect what loading left over and give its pages back to the system (glibc only)."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    trim(0)
