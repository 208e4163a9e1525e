"""The compiler: a network through all passes to a program, which keeps what every pass decided."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import unknown
from hetcnn.network import Layer, Network
from hetcnn.papers.snowflake import registers as reg
from hetcnn.papers.snowflake.choose import Candidate, choose
from hetcnn.papers.snowflake.config import COMPILED, Machine, Schedule, machine
from hetcnn.papers.snowflake.emit import Emitter
from hetcnn.papers.snowflake.generate import Generator
from hetcnn.papers.snowflake.isa import Instruction, encode, listing
from hetcnn.papers.snowflake.layout import Layout, lay_out
from hetcnn.papers.snowflake.plan import Plan
from hetcnn.papers.snowflake.tasks import Graph, Task, parse

__all__ = ["Program", "Segment", "compile_network"]


@dataclass(frozen=True)
class Segment:
    """A task's instructions, `start` to `end`, or a layer of the host's."""

    start: int
    end: int
    choice: Candidate | None
    host: Layer | None = None

    @property
    def plan(self) -> Plan:
        """The task's plan."""
        assert self.choice is not None
        return self.choice.plan

    @property
    def name(self) -> str:
        """The task's or the layer's name."""
        return self.host.name if self.host is not None else self.plan.task.name


@dataclass(frozen=True)
class Program:
    """Instructions with the plan behind them, where everything lies in memory, and the bytes each port will carry."""

    graph: Graph = field(repr=False)
    machine: Machine
    schedule: Schedule
    instructions: tuple[Instruction, ...] = field(repr=False)
    segments: tuple[Segment, ...] = field(repr=False)
    layout: Layout = field(repr=False)
    notes: dict[int, str] = field(repr=False)
    borrowed: frozenset[int] = field(repr=False)
    """Places of the loads within a task that are for the next one."""

    @property
    def work(self) -> tuple[Segment, ...]:
        """The machine's segments."""
        return tuple(s for s in self.segments if s.choice is not None)

    @property
    def binary(self) -> NDArray[np.uint32]:
        """The program as 32-bit words."""
        return np.array([encode(i) for i in self.instructions], np.uint32)

    def segment(self, name: str) -> Segment:
        """Return the segment of a task by name."""
        known = {s.name: s for s in self.work}
        if name not in known:
            raise unknown(f"task of {self.graph.network.name}", name, known)
        return known[name]

    def disassembly(self, task: str, first: int = 0, count: int | None = None) -> str:
        """Return the disassembled binary of one task, or `count` lines of it from `first` on, with notes."""
        found = self.segment(task)
        start = found.start + first
        end = found.end if count is None else min(found.end, start + count)
        return listing(self.binary[start:end], self.notes, start)

    def excerpt(self, task: str, note: str, count: int) -> str:
        """Return `count` lines of a task's disassembly, from the first place on whose note contains `note`."""
        found = self.segment(task)
        places = [at for at in range(found.start, found.end) if note in self.notes.get(at, "")]
        if not places:
            notes = {self.notes[at] for at in range(found.start, found.end) if at in self.notes}
            raise unknown(f"note of task {task}", note, notes)
        return self.disassembly(task, places[0] - found.start, count)


def compile_network(network: Network, on: Machine | None = None, schedule: Schedule = COMPILED) -> Program:
    """Return the program of a network; raise HetcnnError naming the layer that the machine cannot run, and why.

    The network may be float (shapes are enough) or on fixed-point words (`hetcnn.kernels.calibrate.fixed_point`); only
    the latter can be run with values.

    >>> from hetcnn import zoo
    >>> program = compile_network(zoo.load("alexnet"))
    >>> [s.plan.mode for s in program.work if s.plan.task.kind == "conv"]
    ['coop', 'coop', 'coop', 'coop', 'coop']
    """
    on = on or machine()
    graph = parse(network)
    choices = _choices(graph, on, schedule)
    layout = lay_out(graph, [c.plan for c in choices.values()])
    e = Emitter(on.ports, schedule.balance)
    e.note("halves of the weights buffers")
    e.li(reg.HALF, 0)
    e.li(reg.NEXT, on.weights // 2)
    generators = _generators(graph, choices, layout, schedule)
    segments: list[Segment] = []
    for step in graph.steps:
        if isinstance(step, Layer):
            segments.append(Segment(len(e), len(e), None, step))
        elif step.name in choices:
            start = len(e) if any(s.choice for s in segments) else 0
            generators[step.name].run(e)
            segments.append(Segment(start, len(e), choices[step.name]))
    borrowed = frozenset(e.borrowed)
    return Program(graph, on, schedule, tuple(e.code), tuple(segments), layout, e.notes, borrowed)


def _generators(
    graph: Graph, choices: dict[str, Candidate], layout: Layout, schedule: Schedule
) -> dict[str, Generator]:
    """Return task -> its generator, which knows where its first tile goes, what it waits for, and what follows it."""
    found: dict[str, Generator] = {}
    before: Generator | None = None
    host_between = False
    on_the_way: set[str] = set()  # arrays whose stores no fence has waited for
    for step in graph.steps:
        if isinstance(step, Layer):
            host_between = True
            continue
        if step.name not in choices:
            continue
        plan = choices[step.name].plan
        reads = {graph.storage[name].base for name in (step.source, step.residual) if name}
        fence = bool(reads & on_the_way)
        on_the_way = (set() if fence else on_the_way) | {graph.storage[(plan.pool or plan.task).target].base}
        place = 1 - before.last_place if before is not None else 1
        found[step.name] = Generator(plan, layout, place, fence=fence)
        if before is not None and schedule.across and schedule.double_buffer and not host_between:
            before.follow = found[step.name]
            found[step.name].has_weights = plan.task.kind == "conv"
        before, host_between = found[step.name], False
    return found


def _choices(graph: Graph, on: Machine, schedule: Schedule) -> dict[str, Candidate]:
    """Return task -> what was chosen; a pooling fused into the convolution before it has no entry."""
    found: dict[str, Candidate] = {}
    fused: set[str] = set()
    readers: dict[str, list[Task]] = {}
    for task in graph:
        for name in {task.source, task.residual} - {""}:
            readers.setdefault(name, []).append(task)
    hosts = {t.name for step in graph.steps if isinstance(step, Layer) for t in step.data}
    for task in graph:
        if task.name in fused:
            continue
        after = readers.get(task.target, [])
        sole = task.kind == "conv" and len(after) == 1 and after[0].kind == "pool" and task.target not in hosts
        whole = graph.storage[task.target].channel == 0 and graph.storage[task.target].pitch == task.OC
        found[task.name] = choose(task, on, schedule, after[0] if sole and whole else None)
        pool = found[task.name].plan.pool
        if pool is not None:
            fused.add(pool.name)
    return found
