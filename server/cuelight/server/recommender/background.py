"""Work beside the calls gets what the calls leave over."""

import os
import sys
import threading

__all__ = ["keep_to_one_core", "step_back"]

_NICENESS = 5
"""About a third of what a thread that answers calls gets where both want the same core."""


def step_back() -> None:
    """Let the system run this thread after others; for the start of a thread. Linux alone counts it by thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def keep_to_one_core() -> None:
    """Let every matrix product of this process run on the thread that asks for it.

    A BLAS with threads of its own takes all cores for one update, and the calls wait for them.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    threadpool_limits(1, "blas")
