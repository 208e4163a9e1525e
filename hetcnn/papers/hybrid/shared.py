"""One configuration for a whole network: all modules share the FPGA; to reconfigure it takes longer than a frame.

Each module takes one of its choices; their logic must fit together. A mixed-integer program, solved by HiGHS.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from hetcnn.papers.hybrid.graph import of_paper
from hetcnn.papers.hybrid.machine import Constants, nominal
from hetcnn.papers.hybrid.search import Options, options

__all__ = ["one_configuration"]

FloatArray = NDArray[np.float64]


@cache
def one_configuration(network: str, objective: str = "energy") -> tuple[float, float, float, float]:
    """Return (GPU's energy, GPU's latency, hybrid's energy, hybrid's latency) of the best single configuration.

    The DSP blocks, which a module by itself may use, are left out. A product is not a sum over modules: for "product"
    the result of least energy counts.
    """
    c = nominal().changed(dsp=0.0)
    found = [options(module, c) for module in of_paper(network)]
    picks = _choose(found, "latency" if objective == "latency" else "energy", c)
    gpu = [sum(float(getattr(o, k)[0]) for o in found) for k in ("gpu_energy", "gpu_latency")]
    ours = [sum(float(getattr(o, k)[0, i]) for o, i in zip(found, picks, strict=True)) for k in ("energy", "latency")]
    return gpu[0], gpu[1], ours[0], ours[1]


def _choose(found: list[Options], objective: str, c: Constants) -> list[int]:
    from scipy.optimize import Bounds, LinearConstraint, milp

    kept = [_useful(o, objective) for o in found]
    value = np.concatenate([o.score(objective)[0, k] for o, k in zip(found, kept, strict=True)])
    alms = np.concatenate([o.alms[0, k] for o, k in zip(found, kept, strict=True)])
    m20k = np.concatenate([o.m20k[0, k] for o, k in zip(found, kept, strict=True)])
    owner = np.repeat(np.arange(len(found)), [len(k) for k in kept])
    one_each = (owner == np.arange(len(found))[:, None]).astype(float)
    room = np.stack([alms / float(c.alms * c.fill), m20k / float(c.m20k)])
    rules = [LinearConstraint(one_each, 1, 1), LinearConstraint(room, ub=1.0)]
    solved = milp(value / value.max(), integrality=np.ones(len(value), np.intp), bounds=Bounds(0, 1), constraints=rules)
    assert solved.x is not None  # all on the GPU always fits
    chosen = np.flatnonzero(solved.x > 0.5)
    return [int(kept[owner[i]][i - np.searchsorted(owner, owner[i])]) for i in chosen]


def _useful(found: Options, objective: str) -> NDArray[np.intp]:
    """The choices that no other beats in value, ALMs and M20K blocks at once."""
    points = np.stack([found.score(objective)[0], found.alms[0], found.m20k[0]], axis=1)
    usable = np.flatnonzero(np.isfinite(points[:, 0]))
    order = usable[np.lexsort(points[usable].T[::-1])]
    kept: list[int] = []
    for i in order:
        if not any((points[k] <= points[i]).all() for k in kept):
            kept.append(int(i))
    return np.array(kept, np.intp)
