"""When things happen: the control core, the trace decoders, load ports and the memory, in cycles.

The core issues one instruction a cycle, in order. Vector instructions wait in a queue of limited length and run one
after the other; all units run in step. A load waits for the last use of the buffer words that it overwrites, takes its
turn at its port and at the memory, and is usable `latency` cycles after its last byte; the dispatch holds back a trace
whose words are still on their way.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Span:
    """Words `first` to `end` of the maps buffers or of the weights buffers."""

    first: int
    end: int

    @property
    def pages(self) -> slice:
        """The pages they lie on."""
        return slice(self.first // PAGE, (self.end - 1) // PAGE + 1)


@dataclass(frozen=True, slots=True)
class Trace:
    """A vector instruction: its cycles, what it reads and, for the last one of an output, the address it writes."""

    cycles: float
    maps: Span
    weights: Span | None
    writes: int | None
    gathers: bool
    residual: Span | None = None


class Timeline:
    """The state of time of one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.core = 0.0
        self.vector = 0.0
        self.gathered = 0.0
        self.started: deque[float] = deque(maxlen=machine.queue)
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

    # --- memory ---------------------------------------------------------------------------------------------------------

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
        ready[pages] = [max(done, old) for old in ready[pages]]

    def store(self, span: Span, nbytes: int, port: int, lines: int) -> None:
        """Store from the stage, once it is written; traces wait while `lines` leave through the buffer's port."""
        start = max(self.core, self.vector)
        if lines:
            self.vector = start + lines
            self.counts.busy += lines
        takes = nbytes / min(self.machine.port_width, self.machine.bytes_per_cycle)
        self.writing[port] = max(start, self.writing[port]) + takes
        self.memory += nbytes / self.machine.bytes_per_cycle
        self.counts.ports[port] += nbytes
        done = self.writing[port] + self.machine.latency
        self.drained[span.first] = done
        pages = span.pages
        self.used[0][pages] = [max(done, old) for old in self.used[0][pages]]
        self.stored = max(self.stored, done)

    def move(self, lines: int) -> None:
        """Move a trace within the units."""
        self.vector = max(self.core, self.vector) + 2 * lines
        self.counts.busy += 2 * lines

    # --- vector instructions ---------------------------------------------------------------------------------------------

    def _ready(self, trace: Trace) -> float:
        found = max(self.ready[0][trace.maps.pages], default=0.0)
        if trace.weights is not None:
            found = max(found, max(self.ready[1][trace.weights.pages], default=0.0))
        if trace.residual is not None:
            found = max(found, max(self.ready[0][trace.residual.pages]))
        if trace.writes is not None:
            found = max(found, self.drained.get(trace.writes, 0.0))
        return found

    def _use(self, trace: Trace) -> None:
        for space, span in ((0, trace.maps), (1, trace.weights), (0, trace.residual)):
            if span is not None and span.end > span.first:
                pages = span.pages
                self.used[space][pages] = [self.vector] * (pages.stop - pages.start)

    def trace(self, trace: Trace) -> None:
        """Run one vector instruction that the core has just issued."""
        if len(self.started) == self.machine.queue:
            self.core = max(self.core, self.started[0])
        free = max(self.core, self.vector)
        start = max(free, self._ready(trace))
        self.counts.waiting += start - free
        self.started.append(start)
        self.vector = start + trace.cycles
        if trace.gathers:
            self.vector = max(self.vector, self.gathered + GATHER)
            self.gathered = self.vector
        self.counts.busy += self.vector - start
        self.counts.traces += 1
        self._use(trace)

    def loop(self, times: int, instructions: int, traces: list[tuple[int, Trace]]) -> None:
        """Run `times` equal iterations at once: `traces` with their place among an iteration's instructions.

        The end is the longest path: the decoders busy from the first trace on, or the core's last issue and what follows.
        Spans cover all iterations.
        """
        if times == 0:
            return
        work = sum(t.cycles for _, t in traces)
        gathers = any(t.gathers for _, t in traces)
        each = max(work, GATHER) if gathers else work
        first = traces[0][0] + 1
        free = max(self.vector, self.core + first)
        begin = max(free, *(self._ready(t) for _, t in traces))
        self.counts.waiting += begin - free
        rest, tail = 0.0, 0.0
        for place, t in reversed(traces):
            rest += t.cycles
            tail = max(tail, place + 1 + rest)
        issued = self.core + times * instructions
        bound = self.core + (times - 1) * instructions + tail
        self.vector = max(begin + times * each, bound)
        if gathers:
            self.gathered = self.vector
        mean = each / len(traces)
        self.core = max(issued, self.vector - self.machine.queue * mean)
        self.started.extend(self.vector - (self.machine.queue - i) * mean for i in range(self.machine.queue))
        self.counts.busy += times * each
        self.counts.instructions += times * instructions
        self.counts.traces += times * len(traces)
        for _, t in traces:
            self._use(t)
