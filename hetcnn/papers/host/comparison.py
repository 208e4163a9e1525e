"""A record of a machine with the models fitted to its made-up networks: what all tables are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from hetcnn import zoo
from hetcnn.host import designs, predict
from hetcnn.host.cut import layer_cuts
from hetcnn.host.designs import Together
from hetcnn.host.layers import Kernels, Line
from hetcnn.host.predict import PaperModel, TapeModel
from hetcnn.host.record import Record, Run, recorded
from hetcnn.network import Network

__all__ = ["Comparison", "shipped"]

FloatArray = NDArray[np.float64]


class Comparison:
    """`record` is what was measured; the models see its made-up networks alone, and are tried on the known ones."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @property
    def networks(self) -> tuple[str, ...]:
        """The known networks, which no model was fitted to."""
        return tuple(self.record.zoo)

    @cached_property
    def tape(self) -> TapeModel:
        """The predictor on the engine's calls."""
        return predict.fit_tape(list(self.record.training.values()))

    @cached_property
    def paper(self) -> PaperModel:
        """The paper's form, fitted to the same layers."""
        return predict.fit_paper([line for name in self.record.training for line in self.record.lines[name]])

    @cached_property
    def together(self) -> Together:
        """How work gets slower when cores share the machine."""
        return designs.fit_together(self.record)

    def kernels(self, network: str) -> Kernels:
        """The measured kernels of a known network."""
        if network not in self.record.zoo:
            from hetcnn.errors import unknown

            raise unknown("network of this record", network, self.networks)
        return self.record.zoo[network]

    def major(self, network: str) -> list[Line]:
        """The layers with MACs of a known network."""
        self.kernels(network)
        return [line for line in self.record.lines[network] if line.kind]

    def times(self, network: str) -> FloatArray:
        """The predicted seconds of each kernel of a known network."""
        return self.tape.kernel_times(self.kernels(network))

    def errors(self, network: str, form: str = "tape") -> FloatArray:
        """Return predicted / measured - 1 of each layer with MACs; `form` is "tape" or "paper"."""
        lines = self.major(network)
        measured = np.array([line.time for line in lines])
        if form == "paper":
            return np.asarray(self.paper.line_times(lines) / measured - 1)
        return np.asarray(self.tape.line_times(self.kernels(network), lines) / measured - 1)

    def whole_error(self, network: str) -> float:
        """Return predicted / measured - 1 of a whole run."""
        return float(self.times(network).sum() / self.kernels(network).total - 1)

    def predicted(self, run: Run) -> float:
        """Return the predicted frames/s of a design that was run."""
        return designs.predicted_rate(run, self.record, self.times(run.network), self.together, self.cuts(run.network))

    @staticmethod
    def cuts(network: str) -> Sequence[int]:
        """Where a network may be split: before each layer with MACs but the first."""
        return layer_cuts(_network(network))

    @staticmethod
    def layer(network: str, index: int) -> str:
        """The name of a layer by its index."""
        return _network(network).layers[index].name

    def chosen(self, network: str, design: str) -> Run | None:
        """The run of a design that the model predicts to be the fastest of those that were tried."""
        return max(self.record.runs_of(network, design), key=self.predicted, default=None)

    def behind(self, network: str, design: str) -> float:
        """Return by how much the chosen run stays behind the best that was measured: 0 where it is the best."""
        best = max((run.rate for run in self.record.runs_of(network, design)), default=float("nan"))
        chosen = self.chosen(network, design)
        return float("nan") if chosen is None else float(1 - chosen.rate / best)


@cache
def _network(name: str) -> Network:
    return zoo.load(name)


@cache
def shipped() -> Comparison:
    """Return the comparison on the record that ships with the project."""
    return Comparison(recorded())
