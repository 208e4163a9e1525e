"""When things happen: the control core, the trace decoders, load ports and the memory, in cycles.

The core issues one instruction a cycle, in order. MACs and poolings have a decoder each; vector instructions wait in
its queue of limited length and run one after the other, and a pooling's lines pass through the buffer's port that MACs
use too. All units run in step. A load waits for the last use of the buffer words that it overwrites, takes its
turn at its port and at the memory, and is usable `latency` cycles after its last byte; the dispatch holds back a trace
whose words are still on their way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetcnn.papers.snowflake.config import Machine
from hetcnn.papers.snowflake.plan import PAGE

__all__ = ["Counts", "Span", "Timeline", "Trace"]

GATHER = 16


@dataclass
class Counts:
    """What a segment did: bytes by kind, bytes by port, instructions, and cycles by cause."""

    weights: int = 0
    maps: int = 0
    stores: int = 0
    instructions: int = 0
    traces: int = 0
    busy: float = 0.0
    waiting: float = 0.0
    ports: list[int] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of all loads and stores."""
        return self.weights + self.maps + self.stores

    def vector(self) -> NDArray[np.float64]:
        """Return everything as one vector, ports last."""
        return np.array([*(getattr(self, name) for name in _SCALARS), *self.ports], float)

    def add(self, more: NDArray[np.float64]) -> None:
        """Add such a vector."""
        for name, value in zip(_SCALARS, more, strict=False):
            old = getattr(self, name)
            setattr(self, name, old + (float(value) if isinstance(old, float) else round(value)))
        self.ports = [old + round(value) for old, value in zip(self.ports, more[len(_SCALARS) :], strict=True)]


_SCALARS = ("weights", "maps", "stores", "instructions", "traces", "busy", "waiting")


class Span(NamedTuple):
    """Words `first` to `end` of the maps buffers or of the weights buffers."""

    first: int
    end: int

    @property
    def pages(self) -> slice:
        """The pages they lie on."""
        return slice(self.first // PAGE, (self.end - 1) // PAGE + 1)


class Trace(NamedTuple):
    """A vector instruction: its cycles, what it reads and, for the last one of an output, what it writes."""

    cycles: float
    maps: Span
    weights: Span | None
    writes: Span | None
    gathers: bool
    residual: Span | None = None
    lines: int = 0
    """Lines of residuals and partial sums, which are read through the port that the traces use."""

    @property
    def pools(self) -> bool:
        """Whether it runs on the decoder of poolings."""
        return self.weights is None


class Timeline:
    """The state of time of one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.core = 0.0
        self.vector = 0.0
        self.gathered = -float(GATHER)
        self.pooling = 0.0
        self.started: tuple[deque[float], deque[float]] = (deque(maxlen=machine.queue), deque(maxlen=machine.queue))
        self.port = [0.0] * machine.ports
        self.writing = [0.0] * machine.ports
        self.memory = 0.0
        self.stored = 0.0
        pages = 2 * machine.bank // PAGE + 1, machine.weights // PAGE + 1
        self.ready = tuple([0.0] * n for n in pages)
        self.used = tuple([0.0] * n for n in pages)
        self.drained: dict[int, float] = {}
        self.counts = Counts(ports=[0] * machine.ports)

    def issue(self, count: int = 1) -> None:
        """Let the core issue scalar instructions."""
        self.core += count
        self.counts.instructions += count

    def fence(self) -> None:
        """Wait until everything stored is in memory."""
        self.core = max(self.core, self.stored)

    def ahead(self) -> NDArray[np.float64]:
        """Return all times that can still matter, from the core's on; what is past counts as now."""
        heads = (self.vector, self.pooling, self.gathered + GATHER, self.memory, self.stored, *self.port, *self.writing)
        queues = (t for queue in self.started for t in queue)
        pages = (t for both in (self.ready, self.used) for space in both for t in space)
        return np.maximum(np.fromiter((*heads, *self.drained.values(), *queues, *pages), float) - self.core, 0)

    def shift(self, by: float) -> None:
        """Let time pass in which everything stays as it is, seen from the core."""
        for name in ("core", "vector", "pooling", "gathered", "memory", "stored"):
            setattr(self, name, getattr(self, name) + by)
        for times in (self.port, self.writing, *self.ready, *self.used):
            times[:] = [t + by for t in times]
        for queue in self.started:
            moved = [t + by for t in queue]
            queue.clear()
            queue.extend(moved)
        self.drained = {at: t + by for at, t in self.drained.items()}

    # --- memory -----------------------------------------------------------------------------------------------------

    def _transfer(self, start: float, nbytes: int, port: int) -> float:
        """Return when the last byte has passed port and memory; both serve in the order of issue."""
        machine = self.machine
        at_port = max(start, self.port[port])
        at_memory = max(start, self.memory)
        self.port[port] = at_port + nbytes / machine.port_width
        self.memory = at_memory + nbytes / machine.bytes_per_cycle
        self.counts.ports[port] += nbytes
        return max(self.port[port], self.memory) + machine.latency

    def load(self, space: int, span: Span, nbytes: int, port: int) -> None:
        """Load into the maps buffers (space 0) or the weights buffers (1)."""
        pages = span.pages
        start = max(self.core, max(self.used[space][pages]))
        done = self._transfer(start, nbytes, port)
        ready = self.ready[space]
        ready[pages] = [done if done > old else old for old in ready[pages]]

    def store(self, span: Span, nbytes: int, port: int, lines: int) -> None:
        """Store from the stage, once it is written; traces wait while `lines` leave through the buffer's port.

        A store goes before loads that wait at the memory, and later loads pay for that; or all in order of issue.
        """
        pages = span.pages
        start = max(self.core, max(self.ready[0][pages]))
        if lines:
            self.vector = max(self.vector, start) + lines
            self.counts.busy += lines
        takes = nbytes / min(self.machine.port_width, self.machine.bytes_per_cycle)
        self.writing[port] = max(start, self.writing[port]) + takes
        self.memory = max(self.memory, self.core) + nbytes / self.machine.bytes_per_cycle
        self.counts.ports[port] += nbytes
        done = max(self.writing[port], 0 if self.machine.stores_first else self.memory) + self.machine.latency
        self.drained[span.first] = done
        self.used[0][pages] = [done if done > old else old for old in self.used[0][pages]]
        self.stored = max(self.stored, done)

    def move(self, lines: int) -> None:
        """Move a trace within the units, after all poolings that may read it."""
        self.vector = max(self.core, self.vector, self.pooling) + 2 * lines
        self.counts.busy += 2 * lines

    # --- vector instructions ----------------------------------------------------------------------------------------

    def _ready(self, trace: Trace) -> float:
        found = max(self.ready[0][trace.maps.pages], default=0.0)
        if trace.weights is not None:
            found = max(found, max(self.ready[1][trace.weights.pages], default=0.0))
        if trace.residual is not None:
            found = max(found, max(self.ready[0][trace.residual.pages]))
        if trace.writes is not None:
            found = max(found, self.drained.get(trace.writes.first, 0.0))
        return found

    def _use(self, trace: Trace, end: float) -> None:
        for space, span in ((0, trace.maps), (1, trace.weights), (0, trace.residual)):
            if span is not None and span.end > span.first:
                pages = span.pages
                self.used[space][pages] = [end] * (pages.stop - pages.start)
        if trace.writes is not None:
            pages = trace.writes.pages
            self.ready[0][pages] = [end] * (pages.stop - pages.start)

    def _free(self, trace: Trace) -> float:
        return self.pooling if trace.pools else self.vector

    def _until(self, trace: Trace, end: float, lines: float) -> None:
        """Set the decoder's time; MACs lose the cycles in which a pooling's lines pass through the port."""
        if trace.pools:
            self.pooling = end
            self.vector += lines
        else:
            self.vector = end

    def trace(self, trace: Trace) -> None:
        """Run one vector instruction that the core has just issued."""
        started = self.started[trace.pools]
        if len(started) == self.machine.queue:
            self.core = max(self.core, started[0])
        free = max(self.core, self._free(trace))
        start = max(free, self._ready(trace))
        self.counts.waiting += start - free
        started.append(start)
        end = start + trace.cycles + trace.lines
        if trace.gathers:
            end = max(end, self.gathered + GATHER)
            self.gathered = end
        self._until(trace, end, trace.cycles)
        self.counts.busy += end - start
        self.counts.traces += 1
        self._use(trace, end)

    def loop(self, times: int, instructions: int, places: Sequence[int], trace: Trace) -> None:
        """Run `times` equal iterations at once, with traces at `places` among an iteration's instructions.

        `trace` has one trace's cycles, an iteration's lines, and what all of them touch. The end is the longest path:
        the decoder busy from the first trace on, or the core's last issue and what follows it.
        """
        count, queue = len(places), self.machine.queue
        work = count * trace.cycles + trace.lines
        each = max(work, GATHER) if trace.gathers else work
        free = max(self._free(trace), self.core + places[0] + 1)
        begin = max(free, self._ready(trace))
        self.counts.waiting += begin - free
        tail = max(place + 1 + (count - j) * trace.cycles for j, place in enumerate(places)) + trace.lines
        end = max(begin + times * each, self.core + (times - 1) * instructions + tail)
        if trace.gathers:
            self.gathered = end
        self._until(trace, end, times * work)
        mean = each / count
        self.core = max(self.core + times * instructions, end - queue * mean)
        self.started[trace.pools].extend(end - (queue - i) * mean for i in range(queue))
        self.counts.busy += times * each
        self.counts.instructions += times * instructions
        self.counts.traces += times * count
        self._use(trace, end)
