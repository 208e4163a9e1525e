"""A network on a board: time, bound and energy of every layer on every device, and the best pipeline over the devices.

Each layer is a point under the device's roofs (peak x efficiency, its memories, the link that a frame crosses to reach
it), with the time to start it on top. Layers run one at a time on a device, none fused with its neighbour. Published
models of single boards are in `hetcnn.papers`; this one is generic and takes any network and any board file.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetcnn import energy, roofline
from hetcnn.errors import HetcnnError
from hetcnn.network import VIEW_OPS, Layer, Network
from hetcnn.platform import Device, Link, Platform, Rail
from hetcnn.text import PIPELINE_NOTE
from hetcnn.units import si

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Analysis", "DeviceTotal", "PipelinePlan", "Stage", "analyse"]

FloatArray = NDArray[np.float64]
Row = dict[str, str | int | float]

"""What the best pipeline leaves out; among the notes of every analysis that has a pipeline of several stages."""

_MAX_STAGES = 12
_MAX_CHOICES = 256


class Stage(NamedTuple):
    """One stage of a pipeline: a device and its layers, `first` to `last`, indices into the network's layers."""

    device: str
    first: int
    last: int
    time: float


class DeviceTotal(NamedTuple):
    """The whole network on one device: seconds a run, frames/s, J per frame, frames/J; infinite where it cannot run."""

    time: float
    throughput: float
    energy: float
    frames_per_joule: float


@dataclass(frozen=True)
class PipelinePlan:
    """The contiguous split over devices whose slowest stage is fastest.

    interval: seconds between finished runs, the slowest stage; latency: seconds of one run through all stages, without
    waiting; energy: J per frame, all rails on for one interval, NaN where a stage's device has no rail;
    throughput: frames/s.
    """

    stages: tuple[Stage, ...]
    interval: float
    latency: float
    energy: float
    throughput: float

    def __str__(self) -> str:
        where = " | ".join(f"{s.device} [{s.first + 1},{s.last + 1}] {si(s.time, 's')}" for s in self.stages)
        rate = f"{self.throughput:.3g} frames/s, latency {si(self.latency, 's')}"
        joules = "" if math.isnan(self.energy) else f", {si(self.energy, 'J')} per frame"
        return f"{where}: {rate}{joules}"


@dataclass(frozen=True)
class Analysis:
    """Result of `analyse`. Arrays are (layer,) or (layer, device), in SI units.

    `bound` is "compute", "memory:<name>", "link", "none" (a view: nothing to do), "cannot run" or "does not fit"; time
    and energy are infinite for the last two. `traffic` is the compulsory bytes in the device's number format. Energy is
    that of running the layer alone: all rails' static power over its time, and what it adds on the rails that work.
    """

    network: Network
    platform: Platform
    devices: tuple[str, ...]
    macs: NDArray[np.int64]
    bytes: NDArray[np.int64]
    intensity: FloatArray
    time: FloatArray
    bound: NDArray[np.str_]
    traffic: FloatArray
    static_energy: FloatArray
    dynamic_energy: FloatArray
    pipeline: PipelinePlan | None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        size = f"{len(self.network)} layers, {len(self.devices)} device{'s' if len(self.devices) > 1 else ''}"
        return f"<Analysis {self.network.name} on {self.platform.key}: {size}>"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(layer.name for layer in self.network)

    @property
    def energy(self) -> FloatArray:
        """Joules of each layer on each device, static and dynamic; NaN, unknown, on a device that no rail feeds."""
        bare = _without_rail(self.platform, self.devices)
        return np.where([name in bare for name in self.devices], np.nan, self.static_energy + self.dynamic_energy)

    @property
    def batch(self) -> int:
        """Frames in one run of the network."""
        return _batch(self.network)

    def totals(self) -> dict[str, DeviceTotal]:
        """Device -> the whole network on that device alone."""
        times, joules = self.time.sum(axis=0), self.energy.sum(axis=0) / self.batch
        return {
            name: DeviceTotal(float(t), _over(self.batch, float(t)), float(e), _over(1.0, float(e)))
            for name, t, e in zip(self.devices, times, joules, strict=True)
        }

    def rows(self) -> list[Row]:
        """One flat dictionary per layer, for tables: counts, then `<device>.time`, `.bound` and `.energy` in SI."""
        return [self._row(i, layer) for i, layer in enumerate(self.network)]

    def _row(self, i: int, layer: Layer) -> Row:
        row: Row = {"layer": layer.name, "op": layer.op, "kind": layer.kind, "macs": layer.macs, "bytes": layer.bytes}
        row["intensity"] = layer.intensity
        for j, device in enumerate(self.devices):
            row[f"{device}.time"] = float(self.time[i, j])
            row[f"{device}.bound"] = str(self.bound[i, j])
            row[f"{device}.energy"] = float(self.energy[i, j])
        return row

    def to_csv(self) -> str:
        """Return the rows as CSV text; the header carries the units, infinity and NaN are empty cells."""
        rows = self.rows()
        units = {"macs": "MAC", "bytes": "B", "intensity": "ops/B", "time": "s", "energy": "J"}
        names = ["layer", "op", "kind", "macs", "bytes", "intensity"]
        names += [f"{device}.{column}" for device in self.devices for column in ("time", "bound", "energy")]
        header = [f"{n} [{units[tail]}]" if (tail := n.rpartition(".")[2]) in units else n for n in names]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_finite(row[name], "") for name in names] for row in rows)
        return out.getvalue()

    def to_json(self, indent: int | None = 2) -> str:
        """Return everything as JSON in SI units; infinity and NaN are null."""
        plan = self.pipeline
        content = {
            "network": self.network.name,
            "platform": self.platform.key,
            "batch": self.batch,
            "macs": self.network.macs,
            "notes": list(self.notes),
            "layers": self.rows(),
            "devices": {name: total._asdict() for name, total in self.totals().items()},
            "pipeline": None if plan is None else {**vars(plan), "stages": [self._stage(s) for s in plan.stages]},
        }
        return json.dumps(_no_infinity(content), indent=indent, allow_nan=False)

    def _stage(self, stage: Stage) -> dict[str, Any]:
        first, last = self.layers[stage.first], self.layers[stage.last]
        return {"device": stage.device, "first": first, "last": last, "time": stage.time}

    def to_xarray(self) -> xr.Dataset:
        """Return a Dataset over the dimensions layer and device, every variable with units and long_name."""
        import xarray as xr

        both, one = ("layer", "device"), ("layer",)
        variables: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
            "macs": (one, self.macs, "MAC", "multiply-accumulate operations"),
            "bytes": (one, self.bytes, "B", "compulsory traffic"),
            "intensity": (one, self.intensity, "ops/B", "arithmetic intensity"),
            "time": (both, self.time, "s", "time"),
            "energy": (both, self.energy, "J", "energy"),
            "static_energy": (both, self.static_energy, "J", "energy of static power"),
            "dynamic_energy": (both, self.dynamic_energy, "J", "energy of dynamic power"),
            "traffic": (both, self.traffic, "B", "compulsory traffic in the device's number format"),
            "bound": (both, self.bound, "", "what bounds the time"),
        }
        return xr.Dataset(
            {
                name: (dims, value, {"units": u, "long_name": text})
                for name, (dims, value, u, text) in variables.items()
            },
            coords={
                "layer": ("layer", np.array(self.layers, dtype=object), {"units": "", "long_name": "layer"}),
                "device": ("device", np.array(self.devices, dtype=object), {"units": "", "long_name": "device"}),
                "kind": ("layer", [layer.kind for layer in self.network], {"units": "", "long_name": "kind of layer"}),
            },
            attrs={"network": self.network.name, "platform": self.platform.key},
        )


def analyse(network: Network, platform: Platform, *, devices: Sequence[str] | None = None) -> Analysis:
    """Return time, bound and energy of every layer on every device (or on `devices`), and the best pipeline over them.

    The pipeline cuts the network before layers with MACs, uses a device at most once, in the best order, and counts no
    transfer between stages and no contention for memory; a device behind a link pays the crossing for every layer.
    Raises HetcnnError for an unknown device or one named twice.
    """
    _check_types(network, platform)
    names = tuple(platform.devices) if devices is None else tuple(devices)
    if len(set(names)) < len(names) or not names:
        raise HetcnnError(f"devices: name at least one, each once, got {', '.join(names) or 'none'}")
    columns = [_column(network, platform, name) for name in names]
    time = np.stack([column.time for column in columns], axis=1)
    static = np.stack([column.energy.static for column in columns], axis=1)
    dynamic = np.stack([column.energy.dynamic for column in columns], axis=1)
    plan, notes = _best_pipeline(network, platform, names, time, dynamic)
    notes += [f"{name} has no power rail: energy on it is unknown" for name in _without_rail(platform, names)]
    notes += _without_efficiency(network, platform, names)
    return Analysis(
        network,
        platform,
        names,
        macs=_integers(network, [layer.macs for layer in network]),
        bytes=_integers(network, [layer.bytes for layer in network]),
        intensity=np.array([layer.intensity for layer in network], dtype=float),
        time=time,
        bound=np.stack([column.bound for column in columns], axis=1),
        traffic=np.stack([column.traffic for column in columns], axis=1),
        static_energy=static,
        dynamic_energy=dynamic,
        pipeline=plan,
        notes=(*network.notes, *notes),
    )


class _Column(NamedTuple):
    time: FloatArray
    bound: NDArray[np.str_]
    traffic: FloatArray
    energy: energy.Energy


def _column(network: Network, platform: Platform, name: str) -> _Column:
    device, link = platform.device(name), platform.link_of(name)
    ops = np.array([float(layer.ops) for layer in network])
    traffic = np.array([_traffic(layer, device) for layer in network])
    crossing = np.array([_traffic(layer, device, weights=False) if link else 0.0 for layer in network])
    weights = [_multipliers(layer) for layer in network]
    bandwidths = platform.bandwidths(name)
    result = roofline.layer_time(
        ops,
        dict.fromkeys(bandwidths, traffic),
        np.array([device.rate(layer.kind, w) for layer, w in zip(network, weights, strict=True)]),
        bandwidths,
        overhead=np.array([_overhead(layer, device, link) for layer in network]),
        link_bytes=crossing,
        link_bandwidth=float(link.bandwidth) if link else np.inf,
    )
    bound = result.label.astype(object)
    for i, layer in enumerate(network):
        if math.isinf(result.time[i]):
            bound[i] = "does not fit" if layer.kind in device.runs else "cannot run"
    loads = {name: _Load(result.time, ops, traffic)}
    loads |= {m: _Load(traffic / rate, np.zeros_like(ops), traffic) for m, rate in bandwidths.items()}
    if link:
        key = next(k for k, known in platform.links.items() if known is link)
        loads[key] = _Load(crossing / float(link.bandwidth), np.zeros_like(ops), crossing)
    joules = energy.total(_rail(rail, result.time, loads) for rail in platform.rails.values())
    whole = energy.Energy(*(np.broadcast_to(part, ops.shape) for part in joules))
    return _Column(result.time, bound.astype(str), traffic, whole)


class _Load(NamedTuple):
    """What layers ask of a part of the board: seconds busy, ops, bytes."""

    busy: FloatArray
    ops: FloatArray
    bytes: FloatArray


def _rail(rail: Rail, time: FloatArray, loads: Mapping[str, _Load]) -> energy.Energy:
    idle = _Load(np.zeros_like(time), np.zeros_like(time), np.zeros_like(time))
    fed = [loads[part] for part in rail.feeds if part in loads] or [idle]
    # Parts of one rail work at the same time and see the same bytes: the longest counts, not the sum.
    busy, ops, nbytes = (np.max([load[i] for load in fed], axis=0) for i in range(3))
    return energy.rail_energy(
        time,
        static=float(rail.static),
        dynamic=float(rail.dynamic or 0.0),
        busy=busy,
        per_op=float(rail.per_op or 0.0),
        ops=ops,
        per_byte=float(rail.per_byte or 0.0),
        nbytes=nbytes,
    )


def _traffic(layer: Layer, device: Device, *, weights: bool = True) -> float:
    if layer.op in VIEW_OPS:
        return 0.0
    tensors = [t for t in layer.inputs if t is not None and (weights or not t.constant)] + list(layer.outputs)
    if device.word is None:
        return float(sum(t.nbytes for t in tensors))
    return sum(t.size for t in tensors) * float(device.word)


def _multipliers(layer: Layer) -> int:
    return layer.gemm.K * layer.gemm.M * layer.gemm.groups if layer.gemm else 0


def _overhead(layer: Layer, device: Device, link: Link | None) -> float:
    if layer.op in VIEW_OPS:
        return 0.0
    there_and_back = 2 * float(link.latency or 0.0) if link else 0.0
    return float(device.launch or 0.0) + there_and_back


def _best_pipeline(
    network: Network, platform: Platform, names: tuple[str, ...], time: FloatArray, dynamic: FloatArray
) -> tuple[PipelinePlan | None, list[str]]:
    from hetcnn import partition

    limited = [name for name in names if platform.devices[name].weight_limit is not None]
    notes = [f"{name} holds few weights at once and is left out of the pipeline" for name in limited]
    sizes = [len(segment) for segment in network.segments]
    if not sizes or len(limited) == len(names):
        return None, notes
    choices = _choices(platform, [name for name in names if name not in limited])
    if not choices:
        return None, [*notes, "too many devices for an exact pipeline; choose fewer of them"]
    starts = np.cumsum([0, *sizes])
    times = np.add.reduceat(time, starts[:-1], axis=0).T  # (device, segment)
    found = []
    for chosen in choices:
        index = [names.index(name) for name in chosen]
        places, split = partition.best_over_orders(times[index])
        found.append((split, [index[i] for i in places]))
    split, order = min(found, key=lambda option: option[0].bottleneck)
    if math.isinf(split.bottleneck):
        return None, [*notes, "no pipeline: some layer runs on none of the devices"]
    stages = [
        Stage(names[d], int(starts[a]), int(starts[b]) - 1, float(times[d, a:b].sum()))
        for d, (a, b) in zip(order, itertools.pairwise(split.boundaries), strict=True)
        if b > a
    ]
    if len(stages) > 1:
        notes.append(PIPELINE_NOTE)
    return _plan(network, platform, names, stages, dynamic), notes


def _plan(
    network: Network, platform: Platform, names: tuple[str, ...], stages: list[Stage], dynamic: FloatArray
) -> PipelinePlan:
    interval = max(stage.time for stage in stages)
    bare = _without_rail(platform, [stage.device for stage in stages])
    work = math.nan if bare else sum(float(dynamic[s.first : s.last + 1, names.index(s.device)].sum()) for s in stages)
    frames = _batch(network)
    return PipelinePlan(
        tuple(stages),
        interval=interval,
        latency=sum(stage.time for stage in stages),
        energy=(work + platform.static_power * interval) / frames,
        throughput=_over(frames, interval),
    )


def _without_rail(platform: Platform, names: Sequence[str]) -> list[str]:
    fed = {part for rail in platform.rails.values() for part in rail.feeds}
    return [name for name in names if name not in fed]


def _check_types(network: object, platform: object) -> None:
    for what, given in (("network", network), ("platform", platform)):
        if isinstance(given, str):
            loader = {"network": "zoo.load", "platform": "platform.load"}[what]
            raise HetcnnError(f"analyse: expected a {what}, got its name '{given}'; try {loader}('{given}')")


def _without_efficiency(network: Network, platform: Platform, names: Sequence[str]) -> list[str]:
    kinds = {layer.kind for layer in network if layer.macs}
    found = []
    for name in names:
        device = platform.devices[name]
        missing = sorted(kinds.intersection(device.runs).difference(device.efficiency))
        if device.efficiency and missing:
            found.append(f"{name} has no efficiency for {', '.join(missing)}: its peak is taken")
    return found


def _choices(platform: Platform, names: list[str]) -> list[tuple[str, ...]]:
    """All ways to take one device of each group that shares cores; none where they are too many to try."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(platform.devices[name].shares or name, []).append(name)
    if len(groups) > _MAX_STAGES or math.prod(map(len, groups.values())) > _MAX_CHOICES:
        return []
    return list(itertools.product(*groups.values()))


def _batch(network: Network) -> int:
    shape = network.inputs[0].shape if network.inputs else ()
    return max(shape[0], 1) if len(shape) in (2, 4) else 1


def _integers(network: Network, values: list[int]) -> NDArray[np.int64]:
    if any(value > 2**62 for value in values):
        raise HetcnnError(
            f"network '{network.name}': a layer of {si(float(max(values)))} MACs or bytes is beyond 2**62"
        )
    return np.array(values, dtype=np.int64)


def _over(amount: float, by: float) -> float:
    return amount / by if by > 0 else math.inf


def _finite(value: str | int | float, instead: Any) -> Any:
    return instead if isinstance(value, float) and not math.isfinite(value) else value


def _no_infinity(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _no_infinity(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_no_infinity(value) for value in node]
    return _finite(node, None)
