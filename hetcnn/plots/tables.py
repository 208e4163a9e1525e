"""Networks, boards, results and verdicts as self-contained HTML for notebooks: inline styles, light and dark, escaped.

The text versions of networks and boards are `hetcnn.text`'s. Nothing here imports matplotlib.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from hetcnn.errors import HetcnnError
from hetcnn.plots.colours import device_colour
from hetcnn.text import network_text, platform_text
from hetcnn.units import si

if TYPE_CHECKING:
    import xarray as xr

    from hetcnn.network import Layer, Network
    from hetcnn.platform import Device, Platform
    from hetcnn.units import Quantity

__all__ = [
    "Table",
    "claim_chip_html",
    "dataset_html",
    "network_html",
    "network_text",
    "platform_html",
    "platform_text",
    "table",
]

# Jupyter's own style sheet stripes, centres and right-aligns tables: everything it sets is set here too.
_TABLE = "border-collapse:collapse;margin:0;table-layout:auto;font-variant-numeric:tabular-nums;color:inherit"
_ROW = "background:transparent;border-bottom:1px solid #8883"
_EDGE = "border:0;padding:2px 8px;white-space:nowrap"
_LEFT = f"{_EDGE};text-align:left"
_RIGHT = f"{_EDGE};text-align:right"
_WRAP = "border:0;padding:2px 8px;text-align:left;min-width:18em"
_HEAD = "font-weight:600;opacity:.7"
_CARD = (
    "font-family:system-ui,sans-serif;font-size:12.5px;line-height:1.45;color:inherit;max-width:72em;overflow-x:auto"
)
_MUTED = "opacity:.66"
_AMBER = "#c27400"
_MOST_ROWS = 80

_CHIPS: Mapping[str, tuple[str, str]] = {
    "exact": ("#0b6e4f", "#ddf3ea"),
    "reproduced": ("#1d6fa5", "#dfeefa"),
    "trend": ("#6a4c93", "#ece5f6"),
    "off": ("#a61b1b", "#fbe3e1"),
    "inconsistent": ("#8a5a00", "#fbeccb"),
    "out of scope": ("#5b6470", "#e9ebee"),
}


def _cell(html: str, style: str = _LEFT, tag: str = "td", tip: str = "") -> str:
    title = f' title="{escape(tip)}"' if tip else ""
    return f'<{tag} style="{style}"{title}>{html}</{tag}>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Cells are HTML already; `right` are the columns flush right."""
    flush = set(right)
    head = "".join(_cell(h, f"{_RIGHT if i in flush else _LEFT};{_HEAD}", "th") for i, h in enumerate(header))
    body = "".join(f'<tr style="{_ROW}">{"".join(row)}</tr>' for row in rows)
    return f'<table style="{_TABLE}"><thead><tr style="{_ROW}">{head}</tr></thead><tbody>{body}</tbody></table>'


def _scroll(html: str, height: str = "26em") -> str:
    return f'<div style="max-height:{height};overflow:auto;margin-top:4px">{html}</div>'


def _count(number: float) -> str:
    """A count with a decimal prefix; nothing for zero."""
    return si(float(number), "B", 3).removesuffix("B").rstrip() if number else ""


def network_html(network: Network) -> str:
    """Return a network as HTML: one line of totals and a table of its layers with a bar for each share of the MACs.

    Of very long networks only the layers with MACs are listed.
    """
    layers = list(network) if len(network) <= _MOST_ROWS else list(network.major_layers)
    most = max((layer.macs for layer in layers), default=0)
    rows = [_layer_row(layer, most) for layer in layers]
    shapes = ", ".join(_shape(t.shape) for t in network.inputs)
    facts = [
        shapes,
        f"{len(network)} layers, {len(network.major_layers)} with MACs",
        f"{_count(network.macs) or '0'} MACs ({_count(network.ops) or '0'} ops)",
        f"{_count(network.params) or '0'} weights",
    ]
    header = ["layer", "kind", "output", "GEMM N×K×M", "MACs", "weights", "traffic", "ops/B"]
    listed = _table(header, rows, right=(4, 5, 6, 7))
    hidden = len(network) - len(rows)
    notes = [f"{hidden} layers without MACs are not listed"] if hidden > 0 else []
    foot = "".join(f'<div style="{_MUTED}">{escape(note)}</div>' for note in [*notes, *network.notes])
    head = f'<b>{escape(network.name)}</b> <span style="{_MUTED}">· {" · ".join(map(escape, facts))}</span>'
    return f'<div style="{_CARD}">{head}{_scroll(listed)}{foot}</div>'


def _layer_row(layer: Layer, most: int) -> list[str]:
    share = 100 * layer.macs / most if most else 0.0
    bar = f"{_RIGHT};background:linear-gradient(to left,#3f90da52 {share:.0f}%,#0000 {share:.0f}%)"
    gemm = layer.gemm
    size = "" if gemm is None else f"{gemm.N}×{gemm.K}×{gemm.M}" + (f" ×{gemm.groups}" if gemm.groups > 1 else "")
    return [
        _cell(escape(layer.name)),
        _cell(escape(layer.kind), tip=layer.op),
        _cell(_shape(layer.outputs[0].shape) if layer.outputs else ""),
        _cell(size),
        _cell(_count(layer.macs), bar if share >= 1 else _RIGHT),
        _cell(_count(layer.params), _RIGHT),
        _cell(si(float(layer.bytes), "B") if layer.bytes else "", _RIGHT),
        _cell(f"{layer.intensity:.3g}" if layer.macs else "", _RIGHT),
    ]


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def platform_html(platform: Platform) -> str:
    """Return a board as a card: devices, memories, links and rails, then every number with its source or its range."""
    about = f'<div style="{_MUTED};max-width:56em">{escape(platform.about)}</div>' if platform.about else ""
    head = (
        f'<b style="font-size:14px">{escape(platform.title)}</b> <span style="{_MUTED}">{escape(platform.key)}</span>'
    )
    parts = [_devices(platform), _memories(platform), _links(platform), _rails(platform), _sources(platform)]
    inside = "".join(f'<div style="margin-top:6px">{part}</div>' for part in parts if part)
    border = "border:1px solid rgba(128,128,128,.35);border-radius:8px;padding:10px 14px"
    return f'<div style="{_CARD};{border}">{head}{about}{inside}</div>'


def _number(quantity: Quantity | None) -> str:
    """A number with its source as a tip, or with its assumed range in sight."""
    if quantity is None:
        return ""
    text = f'<span title="{escape(quantity.provenance)}">{escape(str(quantity))}</span>'
    return text + (f" {_assumed(quantity.range_text)}" if quantity.assumed else "")


def _assumed(span: str) -> str:
    return f'<i style="color:{_AMBER};font-size:11px">assumed {escape(span.replace(" to ", " .. "))}</i>'


def _dot(colour: str) -> str:
    return f'<span style="display:inline-block;width:.7em;height:.7em;border-radius:50%;background:{colour}"></span>'


def _devices(platform: Platform) -> str:
    rows = []
    for name, device in platform.devices.items():
        rows.append(
            [
                _cell(f"{_dot(device_colour(name, device.kind))} <b>{escape(name)}</b>"),
                _cell(escape(device.title)),
                _cell(escape(device.kind)),
                _cell(escape(si(device.peak_ops, "op/s")), _RIGHT),
                _cell(_made_of(device), _WRAP),
                _cell(escape(", ".join(device.memories) or "by link")),
            ]
        )
    return _table(["device", "", "kind", "peak", "from", "reads"], rows, right=(3,))


def _made_of(device: Device) -> str:
    if device.peak is not None:
        return _number(device.peak)
    many = device.cores if device.cores is not None else device.weight_limit
    parts = [
        (many, " multipliers" if device.cores is None else " cores"),
        (device.clock, ""),
        (device.ops_per_cycle, " ops"),
    ]
    return " × ".join(f"{_number(q)}{unit}" for q, unit in parts if q is not None)


def _memories(platform: Platform) -> str:
    rows = [
        [_cell(f"<b>{escape(n)}</b>"), _cell(escape(m.title)), _cell(_number(m.bandwidth)), _cell(_number(m.capacity))]
        for n, m in platform.memories.items()
    ]
    return _table(["memory", "", "bandwidth", "capacity"], rows)


def _links(platform: Platform) -> str:
    rows = [
        [
            _cell(f"<b>{escape(name)}</b>"),
            _cell(escape(link.title)),
            _cell(escape(" – ".join(link.ends))),
            _cell(_number(link.bandwidth)),
            _cell(_number(link.latency)),
        ]
        for name, link in platform.links.items()
    ]
    return _table(["link", "", "joins", "bandwidth", "latency"], rows) if rows else ""


def _rails(platform: Platform) -> str:
    numbers = {"static": "static", "dynamic": "dynamic", "per op": "per_op", "per byte": "per_byte"}
    rails = platform.rails.values()
    kept = [head for head, field in numbers.items() if any(getattr(rail, field) is not None for rail in rails)]
    rows = [
        [
            _cell(f"<b>{escape(name)}</b>"),
            _cell(escape(", ".join(rail.feeds))),
            *(_cell(_number(getattr(rail, numbers[head]))) for head in kept),
        ]
        for name, rail in platform.rails.items()
    ]
    return _table(["rail", "feeds", *kept], rows) if rows else ""


def _sources(platform: Platform) -> str:
    known = list(platform.quantities())
    rows = []
    for path, q in known:
        source = f"{_assumed(q.range_text)} {escape(q.why)}" if q.assumed else escape(q.source)
        rows.append([_cell(escape(path)), _cell(escape(str(q)), _RIGHT), _cell(source, _WRAP)])
    assumed = sum(q.assumed for _, q in known)
    summary = f'<summary style="cursor:pointer">{len(known)} numbers, {assumed} of them assumed: sources</summary>'
    return f"<details>{summary}{_scroll(_table(['number', 'value', 'source'], rows, right=(1,)))}</details>"


def claim_chip_html(verdict: str | Mapping[str, Any] | object) -> str:
    """Return a verdict as a coloured chip; of a judged claim also the model's value beside the published one.

    Takes a verdict ("reproduced"), a claim of scorecard.json, or a judged result of `hetcnn.repro`.

    >>> "reproduced" in claim_chip_html("reproduced")
    True
    """
    if isinstance(verdict, str):
        return _chip(verdict)
    claim = verdict if isinstance(verdict, Mapping) else _entry(verdict)
    bare = claim.get("unit") == "1" or isinstance(claim.get("published"), str)
    unit = "" if bare else f" {claim.get('unit', '')}".rstrip()
    both = f"ours {_plain(claim.get('model'))}, published {_plain(claim.get('published'))}{unit}"
    error = claim.get("rel_error")
    off = f" ({100 * error:.1f} % off)" if isinstance(error, int | float) and math.isfinite(error) else ""
    name = f'<code style="background:transparent;color:inherit">{escape(str(claim.get("id", "")))}</code>'
    tip = escape(str(claim.get("note") or claim.get("where") or ""))
    return f'<span title="{tip}">{_chip(str(claim.get("verdict", "")))} {name} {escape(both + off)}</span>'


def _entry(result: object) -> Mapping[str, Any]:
    as_dict: Callable[[], Mapping[str, Any]] | None = getattr(result, "to_dict", None)
    if as_dict is None:
        raise HetcnnError(f"expected a verdict or a judged claim, got {type(result).__name__}")
    return as_dict()


def _chip(verdict: str) -> str:
    text, paper = _CHIPS.get(verdict, _CHIPS["out of scope"])
    look = f"background:{paper};color:{text};border-radius:1em;padding:1px 9px;font-size:11px;font-weight:600"
    return f'<span style="{look};white-space:nowrap">{escape(verdict)}</span>'


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, list | tuple):
        return " – ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@dataclass(frozen=True)
class Table:
    """A dataset that shows itself as a table: HTML in a notebook, aligned text in a terminal."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...]
    title: str = ""

    def _repr_html_(self) -> str:
        cells = [[_cell(escape(v), _RIGHT if i in self.numeric else _LEFT) for i, v in enumerate(r)] for r in self.rows]
        title = f"<b>{escape(self.title)}</b>" if self.title else ""
        inside = _table([escape(h) for h in self.header], cells, right=self.numeric)
        return f'<div style="{_CARD};overflow-x:auto">{title}{_scroll(inside)}</div>'

    def __str__(self) -> str:
        from hetcnn.text import table as text_table

        text = text_table(self.header, self.rows, right=[self.header[i] for i in self.numeric])
        return f"{self.title}\n{text}" if self.title else text

    __repr__ = __str__


def table(data: xr.Dataset | xr.DataArray, *, rows: str | None = None, digits: int = 3) -> Table:
    """Return labelled results as a table: one line for each entry of `rows` (the first dimension unless given).

    Every variable has one column for each combination of its other dimensions, headed by them and its unit.
    """
    variables = _variables(data)
    if not variables:
        raise HetcnnError("table: the dataset holds no variable")
    first = rows or next((str(v.dims[0]) for v in variables.values() if v.dims), None)
    if first is None:
        columns = [
            (_heading(name, array, ()), [_shown(array.item(), digits)], True) for name, array in variables.items()
        ]
        index: list[str] = []
    else:
        columns = [c for name, v in variables.items() if first in v.dims for c in _columns(name, v, first, digits)]
        sizes = next(v for v in variables.values() if first in v.dims)
        index = [str(k) for k in (sizes[first].values if first in sizes.coords else range(sizes.sizes[first]))]
    labels = [(first.replace("_", " "), index, False)] if first is not None else []
    found = [*labels, *columns]
    return Table(
        tuple(h for h, _, _ in found),
        tuple(zip(*(values for _, values, _ in found), strict=True)),
        tuple(i for i, (_, _, numeric) in enumerate(found) if numeric),
        str(data.attrs.get("title", "")),
    )


def _variables(data: xr.Dataset | xr.DataArray) -> dict[str, xr.DataArray]:
    import xarray as xr

    if isinstance(data, xr.DataArray):
        return {str(data.name or "value"): data}
    return {str(name): array for name, array in data.data_vars.items()}


def _columns(name: str, array: xr.DataArray, rows: str, digits: int) -> list[tuple[str, list[str], bool]]:
    others = [str(d) for d in array.dims if d != rows]
    names = [[str(v) for v in (array[d].values if d in array.coords else range(array.sizes[d]))] for d in others]
    flat = array.transpose(rows, *others).values.reshape(array.sizes[rows], -1)
    numeric = array.dtype.kind in "iuf"
    return [
        (_heading(name, array, combination), [_shown(v, digits) for v in flat[:, i].tolist()], numeric)
        for i, combination in enumerate(itertools.product(*names))
    ]


def _heading(name: str, array: xr.DataArray, combination: Sequence[str]) -> str:
    unit = str(array.attrs.get("units", ""))
    text = " ".join([name.replace("_", " "), *combination])
    return f"{text} ({unit})" if unit not in ("", "1") and array.dtype.kind in "iuf" else text


def _shown(value: Any, digits: int) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def dataset_html(data: xr.Dataset | xr.DataArray, *, rows: str | None = None, digits: int = 3) -> str:
    """Return labelled results as an HTML table; see `table`."""
    return table(data, rows=rows, digits=digits)._repr_html_()
