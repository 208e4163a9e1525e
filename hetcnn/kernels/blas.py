"""The BLAS under NumPy: which one it is, its threads, and its choice of kernel.

NumPy's own OpenBLAS picks its kernels when it is loaded. On some processors with AVX-512 that it does not know by
name it picks the AVX2 ones, at half the speed; `use_avx512` lets it choose again. The number of threads is one
setting for the whole process, so all engines share one `one_thread` hold on it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["describe", "lanes", "one_thread", "use_avx512"]

OPT_OUT = "HETCNN_BLAS_SWITCH"
"""Environment variable: "0" leaves the BLAS's choice of kernel alone."""

_NEEDED = ("AVX512F", "AVX512CD", "AVX512_SKX")  # NumPy's name for the set with DQ, BW and VL is AVX512_SKX
_OLD = frozenset({"Haswell", "Zen"})
_WIDE = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})


class _OpenBlas:
    """The functions of an OpenBLAS library, whatever prefix and suffix its names carry."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.library = ctypes.CDLL(path)
        self.get_threads = self._function("openblas_get_num_threads", ctypes.c_int)
        self.set_threads = self._function("openblas_set_num_threads", None, ctypes.c_int)
        self.core = self._function("openblas_get_corename", ctypes.c_char_p)
        self.config = self._function("openblas_get_config", ctypes.c_char_p)
        self.quit = self._function("gotoblas_dynamic_quit", None)
        self.init = self._function("gotoblas_dynamic_init", None)

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        for prefix in ("scipy_", ""):
            for suffix in ("64_", "", "_64"):
                found = getattr(self.library, f"{prefix}{name}{suffix}", None)
                if found is not None:
                    found.restype, found.argtypes = result, list(arguments)
                    return found
        return None


@cache
def _library() -> _OpenBlas | None:
    """NumPy's OpenBLAS, or None where NumPy was built on another BLAS."""
    try:
        from threadpoolctl import threadpool_info

        pools = [p for p in threadpool_info() if p.get("internal_api") == "openblas"]
    except Exception:  # a broken or absent threadpoolctl only costs the switch
        return None
    own = [p for p in pools if "numpy" in Path(p["filepath"]).parent.name.lower()]
    for pool in own or pools[:1]:
        try:
            library = _OpenBlas(pool["filepath"])
        except OSError:
            continue
        if library.get_threads is not None and library.set_threads is not None:
            return library
    return None


class _Hold:
    """How many runs want one-thread products now, and what to put back after the last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.before = 1


_hold = _Hold()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the BLAS use one thread, until the last of those who asked for it is done.

    It costs two calls into the library, about a microsecond; with a NumPy on another BLAS it does nothing.
    """
    library = _library()
    if library is None:
        yield
        return
    with _hold.lock:
        if _hold.count == 0:
            _hold.before = library.get_threads()
            if _hold.before != 1:
                library.set_threads(1)
        _hold.count += 1
    try:
        yield
    finally:
        with _hold.lock:
            _hold.count -= 1
            if _hold.count == 0 and _hold.before != 1:
                library.set_threads(_hold.before)


def use_avx512() -> bool:
    """Have OpenBLAS choose its AVX-512 kernels where it overlooked them; returns whether it changed anything.

    Only where the processor has AVX-512 F, CD, DQ, BW and VL and the choice was an AVX2 one; never where
    OPENBLAS_CORETYPE is set by the user, nor where HETCNN_BLAS_SWITCH is 0. Call it while no other thread multiplies.
    """
    library = _library()
    if library is None or not _overlooked(library):
        return False
    with _hold.lock:
        if _hold.count:
            return False
        threads = library.get_threads()
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"  # the library reads it in init
        try:
            library.quit()
            library.init()
        finally:
            del os.environ["OPENBLAS_CORETYPE"]
        library.set_threads(threads)
    return _core(library) == "SkylakeX"


def lanes() -> int:
    """Return how many float32 numbers a vector of the kernels in use has: 16 with AVX-512, otherwise 8.

    >>> lanes() in (8, 16)
    True
    """
    library = _library()
    return 16 if library is not None and _core(library) in _WIDE else 8


def _core(library: _OpenBlas) -> str:
    return library.core().decode() if library.core is not None else ""


def _overlooked(library: _OpenBlas) -> bool:
    if os.environ.get(OPT_OUT) == "0" or "OPENBLAS_CORETYPE" in os.environ:
        return False
    if library.quit is None or library.init is None or _core(library) not in _OLD:
        return False
    features = getattr(getattr(np, "_core", None), "_multiarray_umath", None)
    have = getattr(features, "__cpu_features__", {})
    return all(have.get(name) for name in _NEEDED)


def describe() -> str:
    """One line for `hetcnn doctor`: library, kernel and threads.

    >>> bool(describe())
    True
    """
    library = _library()
    if library is None:
        return "not OpenBLAS; its threads and kernels are left alone"
    config = library.config().decode() if library.config is not None else "OpenBLAS"
    version = " ".join(config.split()[:2])
    note = "; AVX-512 kernels could be faster" if _overlooked(library) else ""
    return f"{version}, {_core(library) or 'unknown'} kernels, {library.get_threads()} threads{note}"
