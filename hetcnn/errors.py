"""The one exception that user mistakes raise, and the helper that names the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["HetcnnError", "unknown"]


_MOST, _FEW = 20, 5  # choices listed in full at most, and how many of a longer list


class HetcnnError(ValueError):
    """A mistake in the input: one line that states the value, the rule and the nearest valid choice."""


def unknown(what: str, given: str, choices: Iterable[str]) -> HetcnnError:
    """Return the error for a name that is not among `choices`, with the nearest one first; of many, the nearest five.

    >>> print(unknown("network", "resnet-81", ["alexnet", "resnet-18"]))
    unknown network 'resnet-81'; did you mean 'resnet-18'? Known: alexnet, resnet-18
    """
    known = sorted(choices)
    near = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.5)
    hint = f" did you mean '{near[0]}'?" if near else ""
    listed = known
    if len(known) > _MOST:
        listed = difflib.get_close_matches(given.lower(), known, n=_FEW, cutoff=0.0)
    more = f" and {len(known) - len(listed)} more" if len(listed) < len(known) else ""
    return HetcnnError(f"unknown {what} '{given}';{hint} Known: {', '.join(listed)}{more}")
