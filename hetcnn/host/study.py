"""Make a record of this machine: fit on made-up networks, try on known ones, in interleaved rounds.

`python -m hetcnn.host.study FOLDER` makes a whole record; notebooks make a short one.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np

from hetcnn import zoo
from hetcnn.host import designs, layers, pipelines, predict, quiet, runtime, training
from hetcnn.host.cut import layer_cuts
from hetcnn.host.layers import Kernels, Line
from hetcnn.host.machine import Machine, describe
from hetcnn.host.record import Record, Run, save
from hetcnn.host.timing import spread
from hetcnn.kernels import blas
from hetcnn.kernels.engine import Engine
from hetcnn.network import Network

__all__ = ["NETWORKS", "QUICK", "study"]

NETWORKS = (
    "alexnet",
    "alexnet-caffe",
    "efficientnet-lite0",
    "googlenet",
    "lenet-5",
    "mobilenet-v1",
    "mobilenet-v2",
    "resnet-18",
    "resnet-50",
    "shufflenet-v2",
    "squeezenet-1.0",
    "squeezenet-1.1",
    "vgg-16",
)
"""The networks to predict: those of the zoo, of ResNet-50's three variants one."""

QUICK = ("mobilenet-v2", "resnet-18", "squeezenet-1.1")

LONGEST = 0.05
"""Seconds of a made-up network that is worth running in pipelines."""

Say = Callable[[str], None]


def study(
    networks: Sequence[str] = QUICK,
    *,
    made_up: int = 24,
    passes: int = 3,
    runs: int = 8,
    rounds: int = 3,
    neighbours: int = 2,
    seconds: float = 0.3,
    patience: float = 0.0,
    say: Say = lambda _: None,
) -> Record:
    """Measure layers of `made_up` networks and of `networks`, and pipelines of both; returns the record.

    Every network is measured in `passes` passes over all of them in changing order, so that a noisy spell of the
    machine hits all alike. `runs` made-up networks and all known ones run as pipelines, `rounds` times for about
    `seconds`: the predicted best split, `neighbours` on both sides of it, the whole on all threads, on one, one per
    core, and beside ONNX Runtime where that is installed.
    """
    start = time.perf_counter()
    blas.use_avx512()
    machine = describe()
    made = {network.name: network for network in training.networks(made_up)}
    known = {name: zoo.load(name, seed=0) for name in networks}
    engines = {}
    for name, network in {**made, **known}.items():
        engines[name] = Engine(network)
    say(f"{len(engines)} networks planned")
    kernels = _kernels(engines, machine, passes, patience, say)
    first = Record({}, {n: kernels[n] for n in made}, {n: kernels[n] for n in known}, _lines(kernels, engines))
    model = predict.fit_tape(list(first.training.values()))
    say("layer times fitted")
    times = {name: _runtime(engines[name].network, patience) for name in known} if runtime.available() else {}
    record = replace(first, runtime=times)
    chosen = [name for name, k in first.training.items() if k.total < LONGEST][:runs]
    found: list[Run] = []
    for name in (*chosen, *known):
        tried = _designs(engines[name].network, record, model, name in known, len(machine.cores), neighbours)
        found += _run_all(engines[name], tried, rounds, seconds, patience, kernels[name].total)
        say(f"{name}: {len(tried)} designs ran")
    about = _about(machine, time.perf_counter() - start)
    return replace(record, runs=tuple(found), about=about)


def _about(machine: Machine, seconds: float) -> dict[str, str]:
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("numpy", "onnxruntime") if _installed(p))
    return {
        "machine": replace(machine, load=None).__str__(),
        "cores": str(len(machine.cores)),
        "blas": blas.describe(),
        "versions": versions,
        "seconds": f"{seconds:.0f}",
        "how": "processor time of one thread for layers, the clock on the wall for pipelines; medians",
    }


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _kernels(
    engines: Mapping[str, Engine], machine: Machine, passes: int, patience: float, say: Say
) -> dict[str, Kernels]:
    """Measure all networks `passes` times undisturbed, in changing order; disturbed visits are made again, once."""
    calm: dict[str, list[Kernels]] = {name: [] for name in engines}
    disturbed: dict[str, list[tuple[float, Kernels]]] = {name: [] for name in engines}
    for number in range(2 * passes if patience else passes):
        order = [name for name in engines if len(calm[name]) < passes]
        if not order:
            break
        random.Random(number).shuffle(order)
        for name in order:
            _visit(engines[name], machine, patience, calm[name], disturbed[name])
        say(f"layers: pass {number + 1}, {len(order)} networks")
    found = {}
    for name in engines:
        rest = [k for _, k in sorted(disturbed[name], key=lambda pair: pair[0])]
        found[name] = _middle([*calm[name], *rest[: max(0, passes - len(calm[name]))]])
    return found


def _visit(
    engine: Engine, machine: Machine, patience: float, calm: list[Kernels], disturbed: list[tuple[float, Kernels]]
) -> None:
    quiet.wait(patience)
    found, others = quiet.others_of(lambda: layers.measure(engine, near=machine.near, cache=machine.last, seconds=0))
    if others <= quiet.QUIET:
        calm.append(found)
    else:
        disturbed.append((others, found))


def _middle(found: Sequence[Kernels]) -> Kernels:
    """The median over passes; the spread is the uncertainty of that median."""
    times = np.stack([k.time for k in found])
    return replace(
        found[0],
        time=np.median(times, axis=0),
        spread=spread(times) if len(found) > 1 else found[0].spread,
        total=float(np.median([k.total for k in found])),
        rounds=sum(k.rounds for k in found),
    )


def _lines(kernels: Mapping[str, Kernels], engines: Mapping[str, Engine]) -> dict[str, list[Line]]:
    return {name: layers.lines(k, engines[name].network) for name, k in kernels.items()}


def _runtime(network: Network, patience: float) -> dict[int, float]:
    quiet.wait(patience)
    place = {layer.name: i for i, layer in enumerate(network.layers)}
    times = runtime.layer_times(network, layers.example_inputs(network))
    return {place[name]: seconds for name, seconds in times.items()}


Design = tuple[str, tuple[int, ...], tuple[str, ...]]
Outcome = tuple[float, float, float, float]
"""Cores that others used meanwhile, frames/s, processor time of the slowest stage, latency."""


def _designs(
    network: Network, record: Record, model: predict.TapeModel, known: bool, cores: int, neighbours: int
) -> list[Design]:
    """What to run of one network: (design, cuts, engines)."""
    kernels = (record.zoo if known else record.training)[network.name]
    times = model.kernel_times(kernels) if known else kernels.time
    cuts = layer_cuts(network)
    found: list[Design] = [("threads", (), ("numpy",)), ("replicas", (), ("numpy",) * cores)]
    if known:
        found += [("single", (), ("numpy",))]
    if cores < 2:
        return found
    (best,) = designs.best_split(kernels, times, cuts)
    at = cuts.index(best)
    # made-up networks show what unequal stages lose to each other
    around = sorted({at // 2, at, (at + len(cuts)) // 2})
    near = cuts[max(0, at - neighbours) : at + neighbours + 1] if known else [cuts[i] for i in around]
    found += [("split", (cut,), ("numpy",) * 2) for cut in near]
    if known and network.name in record.runtime:
        kinds, chosen, _ = designs.best_mixed(kernels, times, record.runtime[network.name], cuts)
        found += _mixed(kinds, chosen, cuts)
    return found


def _mixed(kinds: tuple[str, ...], chosen: tuple[int, ...], cuts: Sequence[int]) -> list[Design]:
    """The chosen design of two kinds of engine, its neighbours, and each engine alone."""
    alone: list[Design] = [("mixed", (), (kind,)) for kind in pipelines.ENGINES]
    if not chosen:
        return alone
    at = list(cuts).index(chosen[0])
    return [*alone, *(("mixed", (cut,), kinds) for cut in cuts[max(0, at - 1) : at + 2])]


def _run_all(
    engine: Engine, tried: Sequence[Design], rounds: int, seconds: float, patience: float, total: float
) -> list[Run]:
    """Run every design in turn, until each has `rounds` undisturbed runs or its `patience` (s) is at an end."""
    frames = int(np.clip(seconds / max(total, 1e-6), 10, 2000))
    ready = [_ready(engine, design) for design in tried]
    seen: list[list[Outcome]] = [[] for _ in tried]
    waited = 0.0
    for number in range(4 * rounds):
        short = [k for k, runs in enumerate(seen) if sum(r[0] <= quiet.QUIET for r in runs) < rounds]
        if not short or (number >= rounds and waited > patience * len(tried)):
            break
        for k in short:
            start = time.perf_counter()
            quiet.wait(patience)
            waited += time.perf_counter() - start
            found, others = quiet.others_of(lambda k=k: ready[k](frames))  # type: ignore[misc]
            seen[k].append((others, *found))
    return [_settled(engine.network.name, design, runs, rounds) for design, runs in zip(tried, seen, strict=True)]


def _settled(network: str, design: Design, seen: Sequence[Outcome], rounds: int) -> Run:
    """The median of the undisturbed runs; of too few such, of the `rounds` that were least disturbed."""
    calm = [run for run in seen if run[0] <= quiet.QUIET]
    chosen = calm if len(calm) >= rounds else sorted(seen)[:rounds]
    rates = [run[1] for run in chosen]
    rate, busy, latency = (float(np.median([run[k] for run in chosen])) for k in (1, 2, 3))
    return Run(network, *design, rate, float(spread(rates)), len(calm), busy, latency)


def _ready(engine: Engine, design: Design) -> Callable[[int], tuple[float, float, float]]:
    """A function that runs a design for some frames: frames/s, processor time of its slowest stage, latency."""
    kind, cuts, engines = design
    if kind == "threads":
        whole = Engine(engine.network, threads=len(describe().cores))

        def run_whole(frames: int) -> tuple[float, float, float]:
            time_ = float(np.median(pipelines.run_threads(whole, frames)))
            return 1 / time_, float("nan"), time_

        return run_whole
    if kind == "replicas":
        copies = pipelines.Replicas(engine)

        def run_copies(frames: int) -> tuple[float, float, float]:
            rate = copies.run(frames)
            return rate, float("nan"), len(copies.cores) / rate

        return run_copies
    stages = pipelines.stages_of(engine.network, cuts, engines)
    line = pipelines.Pipeline(engine if kind != "mixed" else engine.network, stages)

    def run(frames: int) -> tuple[float, float, float]:
        found = line.run(frames)
        return found.throughput, float(found.stage_times.max()), float(np.median(found.latency[found.settled()]))

    return run


def main(arguments: Sequence[str]) -> int:
    """Make a whole record in a folder; `--short` takes a third of the time."""
    folder, *options = arguments
    sizes = (48, 3, 8, 3, 2, 0.15, 1.0) if "--short" in options else (160, 5, 24, 5, 3, 0.25, 4.0)
    names = ("made_up", "passes", "runs", "rounds", "neighbours", "seconds", "patience")
    record = study(NETWORKS, say=print, **dict(zip(names, sizes, strict=True)))  # type: ignore[arg-type]
    save(record, Path(folder))
    print(dict(record.about))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
