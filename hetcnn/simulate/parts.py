"""What a system is made of: engines in clusters, what they share, layers with their jobs, the rule of stealing."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, SupportsIndex, TypeVar

from hetcnn.errors import HetcnnError, unknown

__all__ = [
    "Cluster",
    "Engine",
    "Layer",
    "Path",
    "Slots",
    "Stealing",
    "as_count",
    "as_seconds",
    "as_tuple",
    "copies",
    "set_fields",
]

T = TypeVar("T")
VICTIMS = ("longest", "first", "random")


def set_fields(target: object, **values: object) -> None:
    """Set fields of a frozen dataclass from its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(target, name, value)


def as_seconds(what: str, value: Any) -> float:
    """Return a finite number of seconds from 0 up, or raise HetcnnError with `what`."""
    return _number(what, value, "a finite number of seconds from 0 up", lambda x: 0 <= x < math.inf)


def _number(what: str, value: Any, rule: str, valid: Callable[[float], bool]) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise HetcnnError(f"{what}: expected {rule}, got {value!r}") from None
    if not valid(number):
        raise HetcnnError(f"{what}: expected {rule}, got {number:g}")
    return number


def as_count(what: str, value: SupportsIndex, least: int) -> int:
    """Return a whole number from `least` up, or raise HetcnnError with `what`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise HetcnnError(f"{what}: expected a whole number from {least} up, got {value!r}")
    return number


def _name(what: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise HetcnnError(f"{what}: expected a name, got {value!r}")
    return value


def as_tuple(what: str, values: Iterable[T] | T, kind: type[T]) -> tuple[T, ...]:
    """Return one object of a kind, or several, as a tuple; HetcnnError for anything else."""
    found = (values,) if isinstance(values, kind) else tuple(values)  # type: ignore[arg-type]
    for value in found:
        if not isinstance(value, kind):
            raise HetcnnError(f"{what}: expected {kind.__name__} objects, got {value!r}")
    return found


@dataclass(frozen=True)
class Slots:
    """A resource with `count` places: processor cores, or the one MMU behind which two engines sit.

    Exclusive places are given out in the order of asking (FIFO) and kept until the work is done. With `fair`, all who
    ask work at once and share the places equally, none faster than one place: time slicing.

    >>> Slots("cpu", 2)
    Slots(name='cpu', count=2, fair=False)
    """

    name: str
    count: int = 1
    fair: bool = False

    def __post_init__(self) -> None:
        _name("slots", self.name)
        set_fields(self, count=as_count(f"slots '{self.name}': count", self.count, 1))


@dataclass(frozen=True)
class Path:
    """A memory path of `rate` B/s that all transfers under way share equally, each at most `limit` B/s.

    >>> Path("ddr", rate=4e9).rate
    4000000000.0
    """

    name: str
    rate: float
    limit: float = math.inf

    def __post_init__(self) -> None:
        _name("path", self.name)
        rule = "a finite number of B/s above 0"
        rate = _number(f"path '{self.name}': rate", self.rate, rule, lambda x: 0 < x < math.inf)
        limit = _number(f"path '{self.name}': limit", self.limit, "a number of B/s above 0", lambda x: x > 0)
        set_fields(self, rate=rate, limit=limit)


@dataclass(frozen=True)
class Layer:
    """One layer: `jobs` per frame, each `work` units of the class `job_class` and `bytes` bytes; software around them.

    cluster: where its jobs go (needed if there are any); before, after: seconds of software work of the layer's thread
    on one of the slots `core` (None: on a processor of its own).

    >>> Layer("conv1", jobs=32, work=3, cluster="C0").jobs
    32
    """

    name: str
    jobs: int = 0
    work: float = 1.0
    bytes: float = 0.0
    job_class: str = "job"
    cluster: str | None = None
    before: float = 0.0
    after: float = 0.0
    core: str | None = None

    def __post_init__(self) -> None:
        me = f"layer '{_name('layer', self.name)}'"
        set_fields(self, jobs=as_count(f"{me}: jobs", self.jobs, 0))
        for field_name, rule in (("work", "units of work"), ("bytes", "bytes")):
            rule = f"a finite number of {rule} from 0 up"
            value = _number(f"{me}: {field_name}", getattr(self, field_name), rule, lambda x: 0 <= x < math.inf)
            set_fields(self, **{field_name: value})
        set_fields(self, before=as_seconds(f"{me}: before", self.before), after=as_seconds(f"{me}: after", self.after))


EngineTime = float | Mapping[str, float] | Callable[[Layer], float]


@dataclass(frozen=True)
class Engine:
    """Something that works on one job at a time.

    time: seconds per unit of work, one number or one for each class of job; or a function of the layer that returns
    seconds per job (a look-up in any table). overhead: seconds on top of every job. kind: kind of device, for colours.
    core: slots of which it holds one while it works. path, port: the path that its bytes take, and slots of which it
    holds one while they move. double_buffer: computing and moving overlap, a job takes the longer of the two.

    >>> Engine("F-PE", time={"job": 2e-4}).seconds(Layer("conv1", jobs=1, work=3, cluster="C0"))
    0.0006000000000000001
    """

    name: str
    time: EngineTime
    kind: str = "other"
    overhead: float = 0.0
    core: str | None = None
    path: str | None = None
    port: str | None = None
    double_buffer: bool = True

    def __post_init__(self) -> None:
        me = f"engine '{_name('engine', self.name)}'"
        set_fields(self, overhead=as_seconds(f"{me}: overhead", self.overhead))
        if isinstance(self.time, Mapping):
            times = {str(k): as_seconds(f"{me}: time of job class '{k}'", v) for k, v in self.time.items()}
            set_fields(self, time=times)
        elif not callable(self.time):
            set_fields(self, time=as_seconds(f"{me}: time", self.time))
        if self.port is not None and self.path is None:
            raise HetcnnError(f"{me}: port '{self.port}' without a path; bytes move at the rate of a path")

    def seconds(self, layer: Layer) -> float:
        """Return the seconds of computing of one job of the layer; HetcnnError if the engine has no time for it."""
        if callable(self.time):
            alone = as_seconds(f"engine '{self.name}': time of layer '{layer.name}'", self.time(layer))
        elif isinstance(self.time, Mapping):
            if layer.job_class not in self.time:
                what = f"job class (layer '{layer.name}' on engine '{self.name}')"
                raise unknown(what, layer.job_class, self.time)
            alone = layer.work * self.time[layer.job_class]
        else:
            alone = layer.work * self.time
        return alone + self.overhead

    def __hash__(self) -> int:
        return hash((self.name, self.kind, self.overhead, self.core, self.path, self.port))


def copies(engine: Engine, count: int) -> tuple[Engine, ...]:
    """Return `count` engines like the given one, numbered from 1.

    >>> [e.name for e in copies(Engine("F-PE", time=1.0), 2)]
    ['F-PE 1', 'F-PE 2']
    """
    number = as_count(f"copies of engine '{engine.name}'", count, 0)
    return tuple(replace(engine, name=f"{engine.name} {i + 1}") for i in range(number))


@dataclass(frozen=True)
class Cluster:
    """Engines with one job queue of `queue` places (None: no limit), served in order.

    Each engine takes one job in work and `buffer` more in front of it. Jobs are handed to the engines with room in
    turn, as declared. thief: whether it may steal when it is hungry.

    >>> Cluster("C0", copies(Engine("PE", time=1.0), 2), queue=128).queue
    128
    """

    name: str
    engines: tuple[Engine, ...]
    queue: int | None = None
    buffer: int = 0
    thief: bool = True

    def __post_init__(self) -> None:
        me = f"cluster '{_name('cluster', self.name)}'"
        engines = as_tuple(f"{me}: engines", self.engines, Engine)
        if not engines:
            raise HetcnnError(f"{me}: expected at least 1 engine, got none")
        if self.queue is not None:
            set_fields(self, queue=as_count(f"{me}: queue", self.queue, 1))
        set_fields(self, engines=engines, buffer=as_count(f"{me}: buffer", self.buffer, 0))


@dataclass(frozen=True)
class Stealing:
    """How hungry clusters steal.

    victim: "longest" queue (the first of equals), "first" that has enough, or "random" among those (with `seed`).
    amount: jobs of one steal, at most: a number, "half", "all" or "all/3" of the victim's queue, rounded up, and never
    more than the thief's queue holds. overhead: seconds until the stolen jobs are in the thief's queue. least: the
    shortest queue that is stolen from.

    >>> Stealing(amount="half").jobs(5), Stealing(amount=2).jobs(5), Stealing(amount="all/4").jobs(5)
    (3, 2, 2)
    """

    victim: str = "longest"
    amount: int | str = "half"
    overhead: float = 0.0
    seed: int = 0
    least: int = 1
    _take: tuple[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.victim not in VICTIMS:
            raise unknown("choice of victim", str(self.victim), VICTIMS)
        set_fields(
            self, overhead=as_seconds("stealing: overhead", self.overhead), least=as_count("least", self.least, 1)
        )
        set_fields(self, seed=as_count("stealing: seed", self.seed, 0), _take=self._parsed())

    def _parsed(self) -> tuple[int, int]:
        """Return (most jobs or 0, divisor)."""
        if not isinstance(self.amount, str):
            return as_count("stealing: amount", self.amount, 1), 1
        if self.amount == "half":
            return 0, 2
        head, _, divisor = self.amount.partition("/")
        if head != "all" or (self.amount != "all" and not (divisor.isascii() and divisor.isdigit() and int(divisor))):
            raise HetcnnError(f"stealing: amount '{self.amount}'; expected 1, 2, ..., 'half', 'all' or 'all/3'")
        return 0, int(divisor or 1)

    def jobs(self, waiting: int) -> int:
        """Return how many jobs are taken from a queue of `waiting`."""
        most, divisor = self._take
        return min(most, waiting) if most else -(-waiting // divisor)
