"""Designs of Synergy as systems to simulate: engines in clusters, a thread for each layer, static or stealing.

The pipeline has one thread for each layer; a convolution has `threads` of them (im2col, the courier that hands over
jobs, bias with activation). NEON threads and layer threads share the two cores equally. By default the lightest layers
go to the weaker cluster (Sec. 3), as many as balance the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from operator import index
from typing import Literal

from hetcnn.errors import HetcnnError, unknown
from hetcnn.papers.synergy.machine import Clusters, Machine, Stage, board, cores, stages
from hetcnn.simulate import Cluster, Engine, Layer, Path, Schedule, Slots, Stealing, System, simulate

__all__ = ["DEFAULT", "FPGA", "FRAMES", "NEON", "Design", "convolutions", "default_mapping", "run", "system"]

DEFAULT: Clusters = ((2, 2, 0), (0, 0, 6))
"""Cluster-0 = 2 NEON + 2 S-PE, Cluster-1 = 6 F-PE."""

FPGA: Clusters = ((0, 2, 0), (0, 0, 6))
NEON: Clusters = ((2, 0, 0),)

FRAMES = 72
"""Frames of a pipelined run: its rate is within 0.5 % of that of a run many times as long."""
_ALONE = 4  # frames of a run that is not pipelined: they are all alike
_FLOAT = 4
_KINDS = {"NEON": "neon", "S-PE": "fpga", "F-PE": "fpga"}
Memory = Literal["multi", "single"]


@dataclass(frozen=True, slots=True)
class Design:
    """Clusters, the cluster of each convolution (None: by default), and how frames and jobs move.

    memory: two PEs share an MMU ("multi"), or all of them one ("single").
    """

    clusters: Clusters = DEFAULT
    mapping: tuple[int, ...] | None = None
    stealing: bool = True
    pipelined: bool = True
    memory: Memory = "multi"

    def __post_init__(self) -> None:
        if self.memory not in ("multi", "single"):
            raise unknown("memory path", str(self.memory), ("multi", "single"))
        for name in ("stealing", "pipelined"):
            if not isinstance(getattr(self, name), bool):
                raise HetcnnError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        rule = "expected (NEON threads, S-PEs, F-PEs) of each, whole numbers, none negative and not all 0"
        try:
            clusters = tuple(tuple(map(index, cluster)) for cluster in self.clusters)
            mapping = None if self.mapping is None else tuple(map(index, self.mapping))
        except TypeError:
            raise HetcnnError(
                f"clusters {self.clusters}, mapping {self.mapping}: {rule}; a mapping in whole numbers"
            ) from None
        if not clusters or not all(len(c) == 3 and min(c) >= 0 and any(c) for c in clusters):
            raise HetcnnError(f"clusters {self.clusters}: {rule}")
        # Lists are taken too, but a design is the key of its simulation.
        object.__setattr__(self, "clusters", clusters)
        object.__setattr__(self, "mapping", mapping)


def convolutions(layers: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the layers that have jobs."""
    return tuple(stage for stage in layers if stage.jobs)


def default_mapping(machine: Machine, layers: Sequence[Stage], clusters: Clusters) -> tuple[int, ...]:
    """Return the cluster of each convolution: the lightest go to the weakest cluster, as many as balance them best.

    Light is what has few steps; weak is what has few steps per second. Balanced is what makes the greater of the two
    clusters' times least, NEON threads on idle cores. A single convolution goes to the strongest cluster; of more than
    two clusters, only the weakest and the strongest are used.
    """
    mine = convolutions(layers)
    rates = [n / machine.step("NEON") + s / machine.s_pe + f / machine.f_pe for n, s, f in clusters]
    weak = min(range(len(rates)), key=rates.__getitem__)
    strong = max(range(len(rates)), key=lambda c: (rates[c], c))
    order = sorted(range(len(mine)), key=lambda i: mine[i].jobs * mine[i].steps)

    def seconds(chosen: Sequence[int], cluster: int) -> float:
        kinds = zip(("NEON", "S-PE", "F-PE"), clusters[cluster], strict=True)
        work = {kind: (many, sum(machine.work(mine[i], kind) for i in chosen)) for kind, many in kinds}
        return 1 / sum(many / w for many, w in work.values()) if chosen else 0.0

    if weak == strong or len(mine) < 2:
        return (strong,) * len(mine)
    light = min(range(1, len(order)), key=lambda k: max(seconds(order[:k], weak), seconds(order[k:], strong)))
    return tuple(weak if i in order[:light] else strong for i in range(len(mine)))


def system(machine: Machine, layers: Sequence[Stage], design: Design, name: str = "synergy") -> System:
    """Return the system of a design, ready to simulate."""
    mapping = design.mapping
    if mapping is None:
        mapping = default_mapping(machine, layers, design.clusters)
    if len(mapping) != len(convolutions(layers)):
        raise HetcnnError(
            f"mapping {mapping}: expected one cluster for each of {len(convolutions(layers))} convolutions"
        )
    paths, ports = _memory(machine, layers, design)
    number = {kind: count(1) for kind in _KINDS}
    made: list[Cluster] = []
    pe = count()
    for c, engines in enumerate(design.clusters):
        members = []
        for kind, many in zip(_KINDS, engines, strict=True):
            for _ in range(many):
                port = (
                    None if kind == "NEON" or not ports else ports[next(pe) // _pes_per_mmu(design) % len(ports)].name
                )
                members.append(_engine(machine, kind, f"{kind} {next(number[kind])}", port))
        made.append(Cluster(f"C{c}", tuple(members)))
    cpu = Slots("cpu", cores(), fair=True)
    stealing = Stealing(amount=machine.given.steal) if design.stealing and len(made) > 1 else None
    threads = _threads(machine, layers, mapping)
    in_flight = None if design.pipelined else 1
    return System(
        tuple(made), tuple(threads), (cpu, *ports), tuple(paths), machine.given.mailbox, in_flight, stealing, name
    )


def _engine(machine: Machine, kind: str, name: str, port: str | None) -> Engine:
    core = "cpu" if kind == "NEON" else None
    path = "ddr" if port else None
    return Engine(name, machine.step(kind), _KINDS[kind], machine.overhead(kind), core, path, port)


def _pes_per_mmu(design: Design) -> int:
    shared = round(float(board().devices["fabric"].resources["pe_per_mmu"]))
    return shared if design.memory == "multi" else sum(s + f for _, s, f in design.clusters)


def job_bytes(machine: Machine, stage: Stage) -> float:
    """Return the bytes that a job moves: two tiles a step, one tile at the end."""
    tile = board().devices["fabric"].resources["tile"]
    return (2 * machine.scale(stage) * stage.steps + 1) * float(tile) ** 2 * _FLOAT


def _memory(machine: Machine, layers: Sequence[Stage], design: Design) -> tuple[list[Path], list[Slots]]:
    """Return the DDR path and the MMUs; none where double buffering hides all transfers, whatever the order."""
    shared = _pes_per_mmu(design)
    pes = sum(s + f for _, s, f in design.clusters)
    fastest = "F-PE" if machine.f_pe <= machine.s_pe else "S-PE"
    hidden = all(
        shared * job_bytes(machine, s) / machine.burst_rate <= machine.job(s, fastest) - machine.parameters.job
        for s in convolutions(layers)
    )
    if not pes or (hidden and design.memory == "multi"):
        return [], []
    ddr = Path("ddr", float(board().memories["ddr"].bandwidth), machine.burst_rate)
    return [ddr], [Slots(f"MMU {i + 1}") for i in range(-(-pes // shared))]


def _threads(machine: Machine, layers: Sequence[Stage], mapping: Sequence[int]) -> list[Layer]:
    made: list[Layer] = []
    target = iter(mapping)
    for stage in layers:
        before, after = machine.before(stage), machine.after(stage)
        if not stage.jobs:
            made.append(Layer(stage.name, after=after, core="cpu"))
            continue
        split = machine.given.threads
        if split > 1:
            made.append(Layer(f"{stage.name} im2col", before=before, core="cpu"))
            before = 0.0
        made.append(
            Layer(
                stage.name,
                stage.jobs,
                machine.scale(stage) * stage.steps,
                job_bytes(machine, stage),
                cluster=f"C{next(target)}",
                before=before,
                after=0.0 if split > 2 else after,
                core="cpu",
            )
        )
        if split > 2:
            made.append(Layer(f"{stage.name} out", after=after, core="cpu"))
    return made


def run(
    machine: Machine, name: str, design: Design, variant: int = 0, *, record: bool = False, frames: int = FRAMES
) -> Schedule:
    """Simulate a benchmark on a design; the same call is simulated once."""
    return _run(machine, name, design, variant, record, frames)


@cache
def _run(machine: Machine, name: str, design: Design, variant: int, record: bool, frames: int) -> Schedule:
    made = system(machine, stages(name, variant), design, name)
    if design.pipelined:
        return simulate(made, frames, record=record)
    return simulate(made, _ALONE, 0, record=record)
