"""The machine: runs a program's instructions, for their time and bytes alone or with all values.

Every instruction is executed; the iterations of an inner loop without loads or stores are executed together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hetcnn.papers.snowflake.compiler import Program, Segment
from hetcnn.papers.snowflake.layout import LOWEST, weight_image
from hetcnn.papers.snowflake.runner import Runner
from hetcnn.papers.snowflake.timeline import Counts
from hetcnn.papers.snowflake.values import Values

__all__ = ["Run", "TaskRun", "execute", "simulate"]

Words = NDArray[np.int16]


@dataclass(frozen=True)
class TaskRun:
    """One task's run: from `start` to `end` in cycles, and what it did."""

    segment: Segment
    start: float
    end: float
    counts: Counts

    @property
    def cycles(self) -> float:
        """Cycles from the end of the task before to the end of this one."""
        return self.end - self.start


@dataclass(frozen=True)
class Run:
    """A frame: the tasks in order, and the tensors if values were computed (NCHW)."""

    program: Program
    tasks: tuple[TaskRun, ...]
    tensors: dict[str, Words] = field(default_factory=dict, repr=False)

    @property
    def cycles(self) -> float:
        """Cycles of a frame."""
        return self.tasks[-1].end

    @property
    def seconds(self) -> float:
        """Seconds of a frame."""
        return self.cycles / self.program.machine.clock

    @property
    def bytes(self) -> int:
        """Bytes of all loads and stores, and of the instructions, fetched once each."""
        return sum(t.counts.bytes for t in self.tasks) + self.instruction_bytes

    @property
    def instruction_bytes(self) -> int:
        """Bytes of the program."""
        return 4 * len(self.program.instructions)

    @property
    def bandwidth(self) -> float:
        """Average bytes per second."""
        return self.bytes / self.seconds

    @property
    def frames_per_second(self) -> float:
        """Frames per second."""
        return 1 / self.seconds


def simulate(program: Program) -> Run:
    """Run a program for time and bytes alone.

    >>> from hetcnn import zoo
    >>> from hetcnn.papers.snowflake.compiler import compile_network
    >>> run = simulate(compile_network(zoo.load("alexnet")))
    >>> sum(t.counts.traces for t in run.tasks if t.segment.name == "conv3")     # 24 x 13 x (13 x 3 - 2) traces
    11544
    """
    return _collect(program, Runner(program, None), {})


def execute(program: Program, inputs: dict[str, NDArray[np.generic]]) -> Run:
    """Run a program with values: `inputs` as the network takes them; the result holds every tensor it stored.

    Raises HetcnnError for weights that the network does not carry or that are not int16.
    """
    layout = program.layout
    memory = np.zeros(layout.words + 4096, np.int16)
    memory[layout.lowest : layout.lowest + layout.fill] = LOWEST
    for segment in program.work:
        if segment.plan.task.kind == "conv":
            at = layout.weights[segment.name]
            memory[at : at + segment.plan.weight_words] = weight_image(segment.plan, program.graph.network)
    return _collect(program, Runner(program, Values(program.machine, memory)), dict(inputs))


def _collect(program: Program, runner: Runner, inputs: dict[str, NDArray[np.generic]]) -> Run:
    tasks = tuple(TaskRun(*found) for found in runner.run(inputs))
    return Run(program, tasks, runner.tensors())
