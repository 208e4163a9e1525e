"""Keep a thread on one core, where the system allows it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["can_pin", "pinned"]


def can_pin() -> bool:
    """Whether threads can be tied to cores here: on Linux they can."""
    return hasattr(os, "sched_setaffinity")


@contextmanager
def pinned(core: int | None) -> Iterator[bool]:
    """Keep the calling thread on `core` inside the block; yields whether that worked, None leaves it free."""
    thread = threading.get_native_id()
    before = None
    if core is not None and can_pin():
        try:
            before = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, {core})
        except OSError:  # a core that is not there, or not ours
            before = None
    try:
        yield before is not None
    finally:
        if before is not None:
            os.sched_setaffinity(thread, before)
