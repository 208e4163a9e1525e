"""Jobs simulated in a second: ten engines in two clusters, three layers with jobs and one of software, 300 frames.

Every job is one event or more: the end of its computing, the ends of its transfer, and software around its layer.
"""

from __future__ import annotations

import time
from statistics import median

from hetcnn.simulate import Cluster, Engine, Layer, Path, Slots, Stealing, System, copies, simulate

__all__ = ["run"]

FRAMES = 300
RUNS = 7


def run() -> list[tuple[str, float, str]]:
    """Return (label, value, unit): medians of several calls in this process, after a first one, over processor time."""
    needs = {"path": "ddr", "port": "mmu"}
    systems = {
        "static, nothing shared": _system(),
        "stealing half, nothing shared": _system(Stealing()),
        "stealing 1 job at a time": _system(Stealing(amount=1)),
        "static, two cores shared": _system(core="cpu"),
        "static, two cores and a memory path": _system(core="cpu", path="ddr"),
        "stealing, cores, path and 4 MMUs": _system(Stealing(), core="cpu", **needs),
        "the same, memory-bound": _system(Stealing(), core="cpu", rate=0.2e9, **needs),
        "the same, without double buffers": _system(Stealing(), core="cpu", double=False, **needs),
    }
    return [(f"simulate: {label}", _speed(system), "jobs/s") for label, system in systems.items()]


def _system(
    stealing: Stealing | None = None,
    *,
    core: str | None = None,
    path: str | None = None,
    port: str | None = None,
    double: bool = True,
    rate: float = 1e9,
) -> System:
    neon = Engine("NEON", 1.3e-3, kind="neon", core=core)
    small, fast = (
        Engine(name, seconds, kind="fpga", path=path, port=port, double_buffer=double)
        for name, seconds in (("S-PE", 1.1e-3), ("F-PE", 0.41e-3))
    )
    clusters = [Cluster("C0", copies(neon, 2) + copies(small, 2)), Cluster("C1", copies(fast, 6))]
    layers = [
        Layer("conv1", 64, 3, bytes=30e3, cluster="C0", before=1e-3, core=core),
        Layer("pool1", after=1e-3, core=core),
        Layer("conv2", 64, 25, bytes=200e3, cluster="C1", before=1e-3, core=core),
        Layer("conv3", 128, 5, bytes=50e3, cluster="C1", core=core),
    ]
    return System(clusters, layers, [Slots("cpu", 2), Slots("mmu", 4)], [Path("ddr", rate)], 2, stealing=stealing)


def _speed(system: System) -> float:
    speeds = []
    for _ in range(RUNS + 1):
        start = time.process_time()
        schedule = simulate(system, FRAMES)
        speeds.append(int(schedule.jobs.sum()) / (time.process_time() - start))
    return median(speeds[1:])


if __name__ == "__main__":
    for label, value, unit in run():
        print(f"{label}: {value:,.0f} {unit}")
