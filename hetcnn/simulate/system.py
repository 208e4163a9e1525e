"""A whole system: clusters, shared resources, layers and their mapping; its description checked when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hetcnn.errors import HetcnnError, unknown
from hetcnn.simulate.parts import Cluster, Engine, Layer, Path, Slots, Stealing, as_count, as_tuple, set_fields

__all__ = ["System"]


@dataclass(frozen=True)
class System:
    """Clusters of engines, the resources that they share, and a chain of layers mapped to them.

    mailbox: frames that fit between two layers, one number or one for each gap. in_flight: most frames inside at once
    (None: as many as mailboxes allow; 1: not pipelined). stealing: None for a static mapping.
    Raises HetcnnError for names that do not exist or exist twice, and for a layer whose jobs some engine cannot do.

    >>> from hetcnn.simulate import Cluster, Engine, Layer, copies
    >>> two = copies(Engine("PE", time=1.0), 2)
    >>> System([Cluster("C0", two)], [Layer("conv1", jobs=3, cluster="C0")]).max_in_flight
    1
    """

    clusters: tuple[Cluster, ...]
    layers: tuple[Layer, ...]
    slots: tuple[Slots, ...] = ()
    paths: tuple[Path, ...] = ()
    mailbox: int | tuple[int, ...] = 1
    in_flight: int | None = None
    stealing: Stealing | None = None
    name: str = "system"

    def __post_init__(self) -> None:
        for attribute, kind in (("clusters", Cluster), ("layers", Layer), ("slots", Slots), ("paths", Path)):
            set_fields(self, **{attribute: as_tuple(f"system: {attribute}", getattr(self, attribute), kind)})
        if not self.layers:
            raise HetcnnError("system: expected at least 1 layer, got none")
        self._check_mailboxes()
        if self.in_flight is not None:
            set_fields(self, in_flight=as_count("system: in_flight", self.in_flight, 1))
        self._check_names()
        for cluster in self.clusters:
            for engine in cluster.engines:
                self._check_engine(engine)
        self._check_ports()
        for layer in self.layers:
            self._check_layer(layer)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines, cluster by cluster."""
        return tuple(engine for cluster in self.clusters for engine in cluster.engines)

    @property
    def depths(self) -> tuple[int, ...]:
        """Frames that fit into each mailbox, one for each gap between layers."""
        return self.mailbox if isinstance(self.mailbox, tuple) else (self.mailbox,) * (len(self.layers) - 1)

    @property
    def max_in_flight(self) -> int:
        """Most frames that can be inside at once: one in each layer and those in mailboxes, or `in_flight`."""
        most = len(self.layers) + sum(self.depths)
        return most if self.in_flight is None else min(most, self.in_flight)

    def _check_mailboxes(self) -> None:
        gaps = len(self.layers) - 1
        if isinstance(self.mailbox, Sequence):
            set_fields(self, mailbox=tuple(as_count("system: mailbox", depth, 1) for depth in self.mailbox))
        else:
            set_fields(self, mailbox=as_count("system: mailbox", self.mailbox, 1))
        if len(self.depths) != gaps:
            raise HetcnnError(f"system: {len(self.depths)} mailbox depths for {gaps} gaps; give one for each")

    def _check_names(self) -> None:
        groups: dict[str, Sequence[Any]] = {
            "cluster": self.clusters,
            "engine": self.engines,
            "layer": self.layers,
            "resource": (*self.slots, *self.paths),
        }
        for what, members in groups.items():
            names = [member.name for member in members]
            twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
            if twice is not None:
                raise HetcnnError(f"system: two {what}s named '{twice}'; give every {what} its own name")

    def _check_engine(self, engine: Engine) -> None:
        slots, paths = [s.name for s in self.slots], [p.name for p in self.paths]
        for what, name, known in (
            ("core", engine.core, slots),
            ("port", engine.port, slots),
            ("path", engine.path, paths),
        ):
            if name is not None and name not in known:
                raise unknown(f"{what} of engine '{engine.name}':", name, known)

    def _check_ports(self) -> None:
        cores = {engine.core for engine in self.engines}
        fair = {s.name for s in self.slots if s.fair}
        for engine in self.engines:
            if engine.port is not None and engine.port in cores | fair:
                why = "is fair" if engine.port in fair else "is a core of engines too, which could wait forever"
                raise HetcnnError(f"engine '{engine.name}': port '{engine.port}' {why}; use exclusive slots of its own")

    def _check_layer(self, layer: Layer) -> None:
        if layer.core is not None and layer.core not in [s.name for s in self.slots]:
            raise unknown(f"core of layer '{layer.name}':", layer.core, [s.name for s in self.slots])
        names = [cluster.name for cluster in self.clusters]
        if layer.cluster is not None and layer.cluster not in names:
            raise unknown(f"cluster of layer '{layer.name}':", layer.cluster, names)
        if layer.jobs and layer.cluster is None:
            raise HetcnnError(
                f"layer '{layer.name}': {layer.jobs} jobs and no cluster; choose among {', '.join(names)}"
            )
        if layer.jobs:
            for cluster in self.clusters:
                if cluster.name == layer.cluster or (self.stealing is not None and cluster.thief):
                    for engine in cluster.engines:
                        engine.seconds(layer)
