"""The machine's words against the fixed-point kernels', bit for bit."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hetcnn import zoo
from hetcnn.kernels.calibrate import fixed_point
from hetcnn.kernels.interpreter import Interpreter
from hetcnn.network import Network
from hetcnn.papers.results import variable
from hetcnn.papers.snowflake.compiler import compile_network
from hetcnn.papers.snowflake.config import COMPILED, Machine, Schedule
from hetcnn.papers.snowflake.simulator import execute

__all__ = ["agreement"]


def agreement(
    network: Network | str = "squeezenet-1.1", how: Schedule = COMPILED, *, seed: int = 0, on: Machine | None = None
) -> xr.Dataset:
    """Return, for every tensor that the machine stores, its words and how many differ from the kernels' (none should).

    A float network (by name: with random weights) becomes Q8.8; both run it on one random image.
    """
    net = zoo.load(network, seed=seed) if isinstance(network, str) else network
    words = fixed_point(net).network
    (port,) = net.inputs
    image = np.random.default_rng(seed).normal(0, 1, port.shape).astype(np.float32)
    found = execute(compile_network(words, on, how), {port.name: image}).tensors
    theirs = {name: array for name, array in Interpreter.of(words).activations(image) if name in found}
    differ = [int(np.count_nonzero(found[name] != theirs[name])) for name in found]
    nonzero = [100 * float(np.mean(theirs[name] != 0)) for name in found]
    return xr.Dataset(
        {
            "words": variable("tensor", [a.size for a in found.values()], "words", "words stored"),
            "differ": variable("tensor", differ, "words", "words that differ"),
            "nonzero": variable("tensor", nonzero, "%", "words that are not zero"),
        },
        {"tensor": list(found)},
        {"title": f"{net.name}: machine and kernels"},
    )
