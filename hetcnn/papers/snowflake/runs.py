"""Runs that many tables read, each made once: a network, compiled one way, on one machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from hetcnn import zoo
from hetcnn.errors import unknown
from hetcnn.papers.snowflake.compiler import compile_network
from hetcnn.papers.snowflake.config import COMPILED, HAND, Machine, Schedule, machine
from hetcnn.papers.snowflake.simulator import Run, TaskRun, simulate

__all__ = ["NETWORKS", "SCHEDULES", "code", "conv_seconds", "run", "seconds", "variant"]

NETWORKS = ("alexnet", "resnet-18", "googlenet", "resnet-50", "squeezenet-1.1")
"""The zoo's networks on which tables are made; the paper has the first two."""

SCHEDULES = {"compiled": COMPILED, "hand": HAND}


def code(how: str) -> Schedule:
    """Return one of the two ways of writing code by name; raise HetcnnError for another name."""
    if how not in SCHEDULES:
        raise unknown("way of writing code", how, SCHEDULES)
    return SCHEDULES[how]


def run(network: str, how: Schedule = COMPILED, on: Machine | None = None) -> Run:
    """Return the run of a network of the zoo for time and bytes."""
    return _run(network, how, on or machine())


@cache
def _run(network: str, how: Schedule, on: Machine) -> Run:
    return simulate(compile_network(zoo.load(network), on, how))


def variant(network: str, how: str, changes: Mapping[str, float]) -> Run:
    """Return the run on a machine with some fields changed."""
    return run(network, code(how), replace(machine(), **changes))  # type: ignore[arg-type]


def seconds(tasks: Iterable[TaskRun], clock: float) -> float:
    """Return the time of some tasks."""
    return sum(t.cycles for t in tasks) / clock


def conv_seconds(found: Run) -> float:
    """Return the time of all convolutions (with pooling where it is fused): what the makers' tables add up."""
    return seconds((t for t in found.tasks if t.segment.plan.task.kind == "conv"), found.program.machine.clock)
