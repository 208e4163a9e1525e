"""The colours of the project: one fixed colour for each kind of device, and a palette for everything else.

The palette is Petroff's ten accessible colours (arXiv 2107.02270). This module imports nothing heavy: the HTML tables
use it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

__all__ = ["COLOUR", "INK", "LEADER", "PALETTE", "colour", "device_colour", "ink", "kind_of", "on", "series_colours"]

PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
"""Petroff's ten colours, in his order."""

INK = "#26292e"
"""The colour of text."""

LEADER = "#a4a9b1"
"""The colour of hairlines from names to what they name: no series has it."""

COLOUR: Mapping[str, str] = MappingProxyType(
    {
        "cpu-big": "#3f90da",
        "cpu-little": "#ffa90e",
        "cpu": "#3f90da",
        "neon": "#92dadd",
        "gpu": "#832db6",
        "fpga": "#bd1f01",
        "npu": "#e76300",
        "accelerator": "#a96b59",
        "memory": "#717581",
        "link": "#94a4a2",
        "other": "#b9ac70",
    }
)
"""Kind of device -> its colour, the same in every figure, card and explorer."""

_ALIASES = {
    "big": "cpu-big",
    "small": "cpu-little",
    "little": "cpu-little",
    "a73": "cpu-big",
    "a57": "cpu-big",
    "denver2": "cpu-big",
    "a9": "cpu-big",
    "a53": "cpu-little",
    "a55": "cpu-little",
    "fabric": "fpga",
    "dram": "memory",
    "ddr": "memory",
    "l2": "memory",
    "pcie": "link",
}


def kind_of(label: str) -> str | None:
    """Return the kind of device that a label names, or None: "B4" and "Big" are cpu-big, "s2" is cpu-little.

    >>> kind_of("Big"), kind_of("B4"), kind_of("s2"), kind_of("gpu"), kind_of("GoogLeNet")
    ('cpu-big', 'cpu-big', 'cpu-little', 'gpu', None)
    """
    word = label.strip()
    plain = word.lower().removeprefix("cortex-")
    if plain in COLOUR:
        return plain
    if plain in _ALIASES:
        return _ALIASES[plain]
    if len(word) > 1 and word[1:].isdigit() and word[0] in "Bs":
        return "cpu-big" if word[0] == "B" else "cpu-little"
    return None


def colour(label: str, default: str = COLOUR["other"]) -> str:
    """Return the fixed colour of a kind of device or of a label that names one.

    >>> colour("gpu") == COLOUR["gpu"]
    True
    """
    kind = kind_of(label)
    return COLOUR[kind] if kind else default


def device_colour(name: str, kind: str) -> str:
    """Return the colour of a device of a board: that of its name where this tells more ("a53" is a little core).

    >>> device_colour("a53", "cpu") == COLOUR["cpu-little"], device_colour("g72", "gpu") == COLOUR["gpu"]
    (True, True)
    """
    named = kind_of(name)
    return COLOUR[named] if kind == "cpu" and named in ("cpu-big", "cpu-little") else COLOUR.get(kind, COLOUR["other"])


def series_colours(labels: Sequence[str]) -> list[str]:
    """Return one colour for each series: those of the devices when all labels are distinct devices, else the palette.

    >>> series_colours(["GoogLeNet", "AlexNet"])
    ['#3f90da', '#ffa90e']
    """
    colours = [colour(label) for label in labels]
    if all(kind_of(label) for label in labels) and len(set(colours)) == len(labels):
        return colours
    return [PALETTE[i % len(PALETTE)] for i in range(len(labels))]


def _rgb(hex_colour: str) -> tuple[int, int, int]:
    digits = hex_colour.lstrip("#")
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _luminance(rgb: tuple[int, int, int]) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink(hex_colour: str, contrast: float = 4.5) -> str:
    """Return the colour darkened until text in it reads on white (WCAG contrast, 4.5 : 1 unless told).

    >>> ink("#000000"), ink("#ffffff") != "#ffffff"
    ('#000000', True)
    """
    rgb = _rgb(hex_colour)
    while 1.05 / (_luminance(rgb) + 0.05) < contrast:
        rgb = tuple(int(v * 0.96) for v in rgb)  # type: ignore[assignment]
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def on(hex_colour: str) -> str:
    """Return black-ish or white, whichever reads better on the colour."""
    luminance = _luminance(_rgb(hex_colour))
    return INK if (luminance + 0.05) / 0.07 > 1.05 / (luminance + 0.05) else "#ffffff"
