"""Settle where every channel lies: shared regions, order of channels, gathering, padding, shifts.

All of it happens before memory is given out, on the declared jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from hetcnn.kernels.fast.jobs import Job
from hetcnn.kernels.fast.layout import SPAN, Read, Region, Source, runs
from hetcnn.kernels.fast.memory import Store
from hetcnn.kernels.fast.pixelwise import Copy
from hetcnn.kernels.fast.shift import absorbed, passed, shift_of
from hetcnn.kernels.fast.tape import Array, Kernel

__all__ = ["Arranger"]


class Arranger:
    """The layout of a program: `regions`, and per job the copies that have to come before it."""

    def __init__(self, jobs: list[Job], sources: list[Source]) -> None:
        self.jobs, self.sources = jobs, sources
        self.regions: list[Region] = []
        self.copies: dict[int, list[Callable[[], Kernel]]] = {}
        self._share()
        self._sort()
        self._settle()
        self._shift()

    def _share(self) -> None:
        """Let whole producers that are read together write into one region side by side."""
        for job in self.jobs:
            for read in job.reads:
                sources = [self.sources[i] for i in read.numbers]
                if len(sources) < 2 or any(s.shared for s in sources) or not read.whole(self.sources):
                    continue
                region = Region(*read.image, read.channels.size)
                offset = 0
                for source in sources:
                    source.region, source.offset, source.shared, source.free = region, offset, True, False
                    offset += source.c

    def _sort(self) -> None:
        """Store the channels of a producer in the order of their readers, so that each reader finds one run."""
        reads: dict[int, list[tuple[int, Read]]] = {}
        for i, job in enumerate(self.jobs):
            for read in job.reads:
                for number in read.numbers:
                    reads.setdefault(number, []).append((i, read))
        for source in self.sources:
            mine = reads.get(source.number, [])
            if not source.free or any(not read.any_order for _, read in mine):
                continue
            first = np.full(source.c, 1 << 30)
            for i, read in reversed(mine):
                own = read.channels[read.channels // SPAN == source.number] % SPAN
                first[own] = i
            source.order = np.argsort(first, kind="stable")

    def _settle(self) -> None:
        """Find every reader's channels, gathering them where they are scattered; then padding."""
        gathered: dict[tuple[bytes, bool], tuple[Region, Any]] = {}
        for i, job in enumerate(self.jobs):
            for read in job.reads:
                self._find(i, read, gathered)
            if job.step is not None and job.step.op == "conv" and job.reads and job.step.attrs["groups"] > 1:
                order, out = job.reads[0].order, job.writes[0]
                if order is not None and order.size == out.c:
                    out.order = order  # depthwise keeps its input's order
        for i, job in enumerate(self.jobs):
            for source in job.writes:
                self._touch(source.region, i)
        self._pad()

    def _find(self, i: int, read: Read, gathered: dict[tuple[bytes, bool], tuple[Region, Any]]) -> None:
        sources = [self.sources[k] for k in read.numbers]
        places, owners = np.empty(read.channels.size, np.int64), []
        for source in sources:
            mine = read.channels // SPAN == source.number
            places[mine] = source.places()[read.channels[mine] % SPAN]
            owners.append(source.region)
            self._touch(source.region, i)
        if all(r is owners[0] for r in owners) and read.settle(owners[0], places):
            return
        key = (read.channels.tobytes(), read.any_order)
        if key not in gathered:
            number = np.array([{id(r): k for k, r in enumerate(owners)}[id(r)] for r in owners])
            where = np.repeat(0, places.size)
            for source, k in zip(sources, number, strict=True):
                where[read.channels // SPAN == source.number] = k
            order = np.lexsort((places, where)) if read.any_order else np.arange(places.size)
            region = Region(*read.image, places.size)
            gathered[key] = region, order
            pieces = [(owners[where[order[a]]], int(places[order[a]]), a, b) for a, b in _runs(where, places, order)]
            self.copies.setdefault(i, []).append(partial(self._gather, region, pieces))
            self._touch(region, i)
        region, order = gathered[key]
        read.region, read.offset, read.order = region, 0, order
        self._touch(region, i)

    def _gather(self, region: Region, pieces: list[tuple[Region, int, int, int]]) -> Kernel:
        pairs = [(source.inner[..., at : at + b - a], region.inner[..., a:b]) for source, at, a, b in pieces]
        return Copy("", "gather", pairs)

    def _touch(self, region: Region, i: int) -> None:
        if region.store is None:
            region.store = Store(0, i, i)
            self.regions.append(region)
        region.store.live(i)

    def _pad(self) -> None:
        """Keep padding around a region if all its readers can do with it; otherwise readers get a padded copy."""
        readers: dict[int, list[Read]] = {}
        for job in self.jobs:
            for read in job.reads:
                readers.setdefault(id(read.region), []).append(read)
        for region in self.regions:
            mine = readers.get(id(region), [])
            if mine and not any(read.flat for read in mine):
                region.pads = tuple(max(read.pads[k] for read in mine) for k in range(4))  # type: ignore[assignment]
        for i, job in enumerate(self.jobs):
            for read in job.reads:
                found = read.region
                assert found is not None
                if any(want > have for want, have in zip(read.pads, found.pads, strict=True)):
                    copy = Region(*read.image, read.channels.size, read.pads)
                    self._touch(copy, i)
                    self.copies.setdefault(i, []).append(
                        partial(self._gather, copy, [(found, read.offset, 0, read.channels.size)])
                    )
                    read.region, read.offset = copy, 0

    def _shift(self) -> None:
        """Decide which producers leave their bias to their readers, and work out everybody's bias."""
        able = [True] * len(self.sources)
        for job in reversed(self.jobs):
            op = job.step.op if job.step else ""
            takes = op in ("conv", "dense") or (op in ("max", "gap") and able[job.writes[0].number])
            for read in job.reads:
                for number in read.numbers:
                    able[number] = able[number] and takes
        for job in self.jobs:
            self._shift_job(job, able)
        for region in self.regions:
            region.zero = self._zero(region)

    def _shift_job(self, job: Job, able: list[bool]) -> None:
        shifts = [shift_of(read, self.sources) for read in job.reads]
        if job.step is None or not job.writes:
            return
        out = job.writes[0]
        if job.step.op in ("max", "gap"):
            out.shift = shifts[0]
        elif job.step.op in ("conv", "dense"):
            residual = shifts.pop() if job.step.residual is not None else None
            own = absorbed(job.step, shifts[0] if shifts else None)
            parts = [part for part in (own, residual) if part is not None]
            job.bias = np.sum(parts, axis=0) if parts else None
            if job.step.op == "conv" and able[out.number]:
                out.shift = passed(job.step, own, residual)

    def _zero(self, region: Region) -> Array | None:
        """What stands for zero around a region: minus the shift of its channels."""
        if not any(region.pads):
            return None
        zero = np.zeros(region.c)
        for source in self.sources:
            if source.region is region and source.shift is not None:
                zero[source.places()] = -source.shift
        for read in (read for job in self.jobs for read in job.reads if read.region is region):
            shift = shift_of(read, self.sources)
            if shift is not None and read.order is not None:
                zero[read.offset + np.arange(shift.size)] = -shift[read.order]
        return np.asarray(zero, np.float32) if zero.any() else None


def _runs(where: Any, places: Any, order: Any) -> list[tuple[int, int]]:
    return runs(places[order] + where[order] * SPAN)
