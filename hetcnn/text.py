"""Networks, boards and analyses as aligned text for a terminal, a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, isnan
from typing import TYPE_CHECKING

from hetcnn.units import si

if TYPE_CHECKING:
    from hetcnn.analysis import Analysis
    from hetcnn.network import Network
    from hetcnn.platform import Platform

__all__ = [
    "PIPELINE_NOTE",
    "analysis_text",
    "layer_notes",
    "network_text",
    "networks_text",
    "platform_text",
    "platforms_text",
    "table",
]

PIPELINE_NOTE = "the pipeline counts no transfer between stages and no contention for memory"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> str:
    """Return rows as aligned columns under a header; the columns named in `right` are flush right.

    >>> print(table(["layer", "MACs"], [["conv1", "15"], ["fc", "1,024"]], right=["MACs"]))
    layer   MACs
    conv1     15
    fc     1,024
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    flush = [name in set(right) for name in header]
    text = (
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, flush, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in text)


COUNTS = ("MACs", "bytes", "ops/B")


def _counts(macs: float, nbytes: float, intensity: float) -> list[str]:
    return [_big(macs), si(float(nbytes), "B") if nbytes else "", f"{intensity:.1f}" if macs else ""]


def _big(count: float) -> str:
    """A count with a decimal prefix, as "1.58 G"; nothing for zero."""
    return si(float(count), "op").removesuffix("op").rstrip() if count else ""


def _work(network: Network) -> str:
    return f"{_big(network.macs) or 0} MACs ({si(float(network.ops), 'op')})"


def networks_text(networks: Mapping[str, Network]) -> str:
    """Return one line per network: input, layers, MACs and weights."""
    header = ["network", "input", "layers", "with MACs", "MACs", "weights"]
    rows = [
        [
            name,
            "x".join(map(str, network.inputs[0].shape)),
            str(len(network)),
            str(len(network.major_layers)),
            _big(network.macs),
            _big(network.params),
        ]
        for name, network in networks.items()
    ]
    return table(header, rows, right=header[2:])


def network_text(network: Network) -> str:
    """Return a network layer by layer."""
    header = ["layer", "op", "kind", "output", *COUNTS]
    rows = [
        [
            layer.name,
            layer.op,
            layer.kind,
            "x".join(map(str, layer.outputs[0].shape)),
            *_counts(layer.macs, layer.bytes, layer.intensity),
        ]
        for layer in network
    ]
    head = f"{network.name}: {len(network)} layers, {_work(network)}, {_big(network.params)} weights"
    notes = [f"note: {note}" for note in network.notes]
    return "\n".join([head, "", table(header, rows, right=COUNTS), *notes])


def platforms_text(boards: Sequence[Platform]) -> str:
    """Return one line per board: its name, its title and its devices."""
    rows = [[board.key, board.title, ", ".join(board.devices)] for board in boards]
    return table(["platform", "board", "devices"], rows)


def platform_text(board: Platform) -> str:
    """Return a board, what its sources are, and every number on file: its range where assumed, where it comes from."""
    rows = []
    for path, quantity in board.quantities():
        span = quantity.range_text
        rows.append([path, str(quantity), f"assumed, {span}" if span else "", quantity.source or quantity.why or ""])
    about = f"\n\n{board.about.strip()}" if board.about.strip() else ""
    return f"{board}{about}\n\n" + table(["number", "value", "assumed", "source"], rows)


def analysis_text(analysis: Analysis) -> str:
    """Return the layers with time, bound and energy on each device, the whole on each device, and the best pipeline."""
    head = f"{analysis.network.name} on {analysis.platform.title}: {_work(analysis.network)}"
    parts = [head, "", _layers(analysis), "", _totals(analysis), "", _pipeline(analysis)]
    return "\n".join([*parts, *(f"note: {note}" for note in [*layer_notes(analysis), *_trust(analysis)])])


def _trust(analysis: Analysis) -> list[str]:
    """Say how much of the board is assumed."""
    numbers, assumed = len(list(analysis.platform.quantities())), len(analysis.platform.assumptions())
    if not assumed:
        return []
    return [f"{assumed} of the board's {numbers} numbers are assumptions; 'hetcnn platforms NAME' shows their ranges"]


def layer_notes(analysis: Analysis) -> list[str]:
    """Return the notes on an analysis but the one that stands beside its pipeline."""
    return [note for note in analysis.notes if note != PIPELINE_NOTE]


def _layers(analysis: Analysis) -> str:
    header = ["layer", "kind", *COUNTS]
    for device in analysis.devices:
        header += [device, "bound", "energy"]
    rows = []
    for i, layer in enumerate(analysis.network):
        row = [layer.name, layer.kind, *_counts(layer.macs, layer.bytes, layer.intensity)]
        for j in range(len(analysis.devices)):
            time = analysis.time[i, j]
            energy = _si(analysis.energy[i, j], "J") if isfinite(time) else "-"
            row += [_si(time, "s"), str(analysis.bound[i, j]), energy]
        rows.append(row)
    return table(header, rows, right=[*COUNTS, *analysis.devices, "energy"])


def _totals(analysis: Analysis) -> str:
    header = ["device", "time", "frames/s", "J/frame", "frames/J"]
    rows = [
        [name, _si(t.time, "s"), _number(t.throughput), _si(t.energy, "J"), _number(t.frames_per_joule)]
        if isfinite(t.time)
        else [name, *"----"]
        for name, t in analysis.totals().items()
    ]
    return table(header, rows, right=header[1:])


def _pipeline(analysis: Analysis) -> str:
    plan = analysis.pipeline
    if plan is None:
        return "best pipeline: none"
    head = f"best pipeline: {_number(plan.throughput)} frames/s, latency {_si(plan.latency, 's')}"
    if joules := _si(plan.energy, "J"):
        head += f", {joules} per frame"
    if PIPELINE_NOTE in analysis.notes:
        head += f"\n({PIPELINE_NOTE})"
    names = analysis.layers
    rows = [[stage.device, names[stage.first], names[stage.last], _si(stage.time, "s")] for stage in plan.stages]
    return f"{head}\n" + table(["stage", "from", "to", "time"], rows, right=["time"])


def _si(value: float, unit: str) -> str:
    if isnan(value):
        return ""
    if not isfinite(value):
        return "-"
    return si(float(value), unit) if value else ""


def _number(value: float) -> str:
    if isnan(value):
        return ""
    return si(float(value)) if isfinite(value) else "-"
