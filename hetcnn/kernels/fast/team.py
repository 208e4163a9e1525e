"""Threads that replay a program together: each its own parts, in step after every kernel that both had work in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from hetcnn.kernels.fast.tape import Call, Kernel

__all__ = ["Team", "phases"]

Phase = tuple[tuple[Call, ...], ...]


def phases(kernels: Sequence[Kernel], workers: int) -> list[Phase]:
    """Join kernels in which only the first worker has work: nobody has to wait between them."""
    found: list[list[list[Call]]] = []
    alone = False
    for kernel in kernels:
        lonely = not any(kernel.parts[1:])
        if not (alone and lonely):
            found.append([[] for _ in range(workers)])
        for mine, calls in zip(found[-1], kernel.parts, strict=True):
            mine.extend(calls)
        alone = lonely
    return [tuple(tuple(calls) for calls in phase) for phase in found]


class Team:
    """`size` workers, the caller's thread one of them; the others sleep between runs and end with the team."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._go = [threading.Semaphore(0) for _ in range(size - 1)]
        self._done = [threading.Semaphore(0) for _ in range(size - 1)]
        self._task: Callable[[int], None] | None = None
        self._errors: list[BaseException] = []
        for k in range(size - 1):
            threading.Thread(target=self._serve, args=(k,), name=f"hetcnn-{k + 1}", daemon=True).start()

    def _serve(self, k: int) -> None:
        while True:
            self._go[k].acquire()
            if self._task is None:
                return
            self._try(k + 1)
            self._done[k].release()

    def _try(self, worker: int) -> None:
        try:
            assert self._task is not None
            self._task(worker)
        except BaseException as error:
            self._errors.append(error)

    def each(self, task: Callable[[int], None]) -> None:
        """Call task(0) here and task(1), ... on the others; returns when all are done, raises the first error."""
        self._task, self._errors = task, []
        for go in self._go:
            go.release()
        self._try(0)
        for done in self._done:
            done.acquire()
        if self._errors:
            raise self._errors[0]

    def replay(self, program: Sequence[Phase]) -> None:
        """Run the phases; nobody enters a phase before all have left the one before."""
        for parts in program:
            if any(parts[1:]):
                self.each(partial(_play, parts))
            else:
                _play(parts, 0)

    def close(self) -> None:
        """Let the threads end."""
        self._task = None
        for go in self._go:
            go.release()


def _play(parts: Phase, worker: int) -> None:
    for call in parts[worker]:
        call()
