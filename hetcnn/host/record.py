"""What was measured on one machine: kernels of made-up and of known networks, and runs of pipelines; kept as CSV.

A record made elsewhere gives the same fit and the same errors everywhere; the one that ships with the project was made
on a machine with two cores.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hetcnn import data
from hetcnn.errors import HetcnnError
from hetcnn.host.layers import Kernels, Line
from hetcnn.host.work import TERMS

__all__ = ["Record", "Run", "load", "recorded", "save"]


@dataclass(frozen=True)
class Run:
    """A design as it ran: frames/s, its relative spread, how many runs nobody disturbed, the slowest stage's own time
    and the latency of a frame in seconds.

    `design` is "split" (the NumPy engine in stages), "threads" (whole, layers divided), "replicas" (whole, one per
    core), "single" (whole, one thread) or "mixed" (stages on several kinds of engine); `cuts` are indices of layers.
    """

    network: str
    design: str
    cuts: tuple[int, ...]
    engines: tuple[str, ...]
    rate: float
    spread: float
    rounds: int
    busy: float = float("nan")
    latency: float = float("nan")


@dataclass(frozen=True)
class Record:
    """Kernels and layers by network, what the layers took in ONNX Runtime, and the runs. `about` says where and how."""

    about: Mapping[str, str]
    training: Mapping[str, Kernels]
    zoo: Mapping[str, Kernels]
    lines: Mapping[str, list[Line]]
    runs: tuple[Run, ...] = ()
    runtime: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Network -> index of layer -> seconds in ONNX Runtime, one thread."""

    def runs_of(self, network: str, design: str) -> tuple[Run, ...]:
        """The runs of one design."""
        return tuple(run for run in self.runs if run.network == network and run.design == design)


def recorded() -> Record:
    """Return the record that ships with the project."""
    return load(data.path("papers", "host", "recorded"))


_RUN = ("network", "design", "cuts", "engines", "rate", "spread", "rounds", "busy", "latency")
_HEAD = ("network", "layer", "kind", "N", "K", "M", "ops", "bytes", "position", "algorithm", "time", "spread")


def save(record: Record, folder: Path) -> None:
    """Write a record as about.json, training.csv.gz, zoo.csv.gz, networks.csv, runs.csv and runtime.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "about.json").write_text(json.dumps(dict(record.about), indent=1) + "\n", encoding="utf-8")
    for name, kernels in (("training", record.training), ("zoo", record.zoo)):
        rows = (row for k in kernels.values() for row in _kernel_rows(k, record.lines[k.network]))
        _write(folder / f"{name}.csv.gz", [*_HEAD, *TERMS], rows)
    both = [*record.training.values(), *record.zoo.values()]
    _write(folder / "networks.csv", ["network", "total", "rounds"], ([k.network, _n(k.total), k.rounds] for k in both))
    rows = (
        [
            r.network,
            r.design,
            _list(r.cuts),
            _list(r.engines),
            _n(r.rate),
            _n(r.spread),
            r.rounds,
            _n(r.busy),
            _n(r.latency),
        ]
        for r in record.runs
    )
    _write(folder / "runs.csv", _RUN, rows)
    times = ([name, i, _n(t)] for name, layers in record.runtime.items() for i, t in layers.items())
    _write(folder / "runtime.csv", ["network", "position", "time"], times)


def _kernel_rows(kernels: Kernels, lines: Iterable[Line]) -> Iterable[list[object]]:
    for line in lines:
        for i in line.kernels:
            head = [kernels.network, line.layer, line.kind, line.N, line.K, line.M, line.ops, line.bytes]
            measured = [kernels.positions[i], kernels.algorithms[i], _n(kernels.time[i]), _n(kernels.spread[i])]
            yield [*head, *measured, *(_n(amount) if amount else "" for amount in kernels.work[i])]


def _n(value: float) -> str:
    return f"{value:.6g}"


def _list(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def _write(path: Path, head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(list(head))
    writer.writerows(rows)
    found = text.getvalue().encode()
    # No time in the header: the same record gives the same bytes.
    path.write_bytes(gzip.compress(found, mtime=0) if path.suffix == ".gz" else found)


def load(folder: Path) -> Record:
    """Read a record from its folder; raises HetcnnError for one that lacks a file or a column."""
    try:
        totals = {row["network"]: (float(row["total"]), int(row["rounds"])) for row in _read(folder / "networks.csv")}
        lines: dict[str, list[Line]] = {}
        sets = [_kernels(folder / f"{name}.csv.gz", totals, lines) for name in ("training", "zoo")]
        runs = tuple(map(_run, _read(folder / "runs.csv")))
        runtime: dict[str, dict[int, float]] = {}
        for row in _read(folder / "runtime.csv"):
            runtime.setdefault(row["network"], {})[int(row["position"])] = float(row["time"])
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise HetcnnError(f"{folder}: no record: {error}") from None
    except (KeyError, ValueError, EOFError, zlib.error) as error:
        raise HetcnnError(f"{folder}: not a record: {type(error).__name__} {error}") from None
    return Record(about, sets[0], sets[1], lines, runs, runtime)


def _read(path: Path) -> list[dict[str, str]]:
    found = path.read_bytes()
    text = (gzip.decompress(found) if path.suffix == ".gz" else found).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _run(row: Mapping[str, str]) -> Run:
    cuts, engines = tuple(map(int, row["cuts"].split())), tuple(row["engines"].split())
    rate, spread, busy, latency = (float(row[name]) for name in ("rate", "spread", "busy", "latency"))
    return Run(row["network"], row["design"], cuts, engines, rate, spread, int(row["rounds"]), busy, latency)


def _kernels(path: Path, totals: Mapping[str, tuple[float, int]], lines: dict[str, list[Line]]) -> dict[str, Kernels]:
    found = {}
    for network, group in itertools.groupby(_read(path), key=lambda row: row["network"]):
        rows = list(group)
        time = np.array([float(row["time"]) for row in rows])
        work = np.array([[float(row[term] or 0) for term in TERMS] for row in rows])
        found[network] = Kernels(
            network,
            tuple((row["layer"],) for row in rows),
            tuple(row["algorithm"] for row in rows),
            work,
            time,
            np.array([float(row["spread"]) for row in rows]),
            tuple(int(row["position"]) for row in rows),
            *totals[network],
        )
        lines[network] = []
        for layer, places in itertools.groupby(range(len(rows)), key=lambda i: rows[i]["layer"]):
            own = list(places)
            row = rows[own[0]]
            size = int(row["N"]), int(row["K"]), int(row["M"])
            lines[network].append(
                Line(layer, tuple(own), row["kind"], *size, float(time[own].sum()), int(row["ops"]), int(row["bytes"]))
            )
    return found
