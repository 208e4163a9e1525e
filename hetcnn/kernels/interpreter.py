"""Runs a network layer by layer with the plain operators: the readable engine, and the one the fast one falls back on.

Each layer is looked up once in the registry; a run then calls the functions in order, and drops every tensor after
its last reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from hetcnn.errors import HetcnnError, unknown
from hetcnn.kernels.arrays import Array
from hetcnn.kernels.registry import Operator, operator
from hetcnn.network import Layer, Network

__all__ = ["Feed", "Interpreter", "Port", "Step", "bind", "check_inputs", "run"]

Feed = Array | Sequence[Array] | Mapping[str, Array]
"""The inputs of a run: one array, arrays in the network's order, or name -> array."""


@dataclass(frozen=True)
class Port:
    """An input: its name, its element type, and its shape as far as it is fixed (None: any size, or any shape).

    An input without an element type is no tensor; whatever is given is taken.
    """

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None

    def checked(self, value: Any) -> Array:
        """Return the input as an array; raise HetcnnError if it does not fit."""
        if self.dtype is None:
            return cast(Array, value)
        array = np.asarray(value)
        if array.dtype.name != self.dtype and not (self.dtype == "object" and array.dtype.kind in "OUS"):
            raise HetcnnError(f"input '{self.name}' is {array.dtype.name}; the network needs {self.dtype}")
        fits = self.shape is None or (
            len(self.shape) == array.ndim
            and all(want in (None, got) for want, got in zip(self.shape, array.shape, strict=True))
        )
        if not fits:
            raise HetcnnError(f"input '{self.name}' has shape {array.shape}; the network needs {self._shape_text}")
        return array

    @property
    def _shape_text(self) -> str:
        sizes = ["any" if d is None else str(d) for d in self.shape or ()]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


@dataclass(frozen=True)
class Step:
    """One operator with its function: reads `inputs` by name ("" is absent) and writes `outputs`."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    function: Operator

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs; whatever goes wrong is one HetcnnError that names the layer."""
        try:
            results = self.function([values[n] if n else None for n in self.inputs], self.attrs)
        except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            detail = (str(error).splitlines() or [type(error).__name__])[0][:300]
            raise HetcnnError(f"layer '{self.name}' ({self.op}): {detail}") from error
        if len(results) < len(self.outputs):
            raise HetcnnError(f"layer '{self.name}' ({self.op}) has {len(self.outputs)} outputs, not {len(results)}")
        return {n: result for n, result in zip(self.outputs, results, strict=False) if n}


def bind(
    name: str,
    op: str,
    domain: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attrs: Mapping[str, Any],
    opsets: Mapping[str, int],
) -> Step:
    """Return the step of an operator, its function looked up; raise HetcnnError naming the layer if there is none."""
    while outputs and not outputs[-1]:
        outputs = outputs[:-1]
    try:
        function = operator(op, domain, opsets.get(domain, opsets.get("", 21)), len(outputs))
    except HetcnnError as error:
        raise HetcnnError(f"layer '{name}': {error}") from None
    return Step(name, op, tuple(inputs), tuple(outputs), attrs, function)


class Interpreter:
    """A network made ready to run; make one with `Interpreter.of(network)`.

    >>> from hetcnn import zoo
    >>> lenet = Interpreter.of(zoo.load("lenet-5", seed=0))
    >>> result = lenet.run(np.ones((1, 1, 28, 28), np.float32))
    >>> {name: array.shape for name, array in result.items()}, round(float(result["softmax"].sum()), 5)
    ({'softmax': (1, 10)}, 1.0)
    """

    def __init__(
        self, ports: Sequence[Port], steps: Sequence[Step], outputs: Sequence[str], constants: Mapping[str, Array]
    ) -> None:
        self.ports, self.steps, self.outputs = tuple(ports), tuple(steps), tuple(outputs)
        self._constants = dict(constants)

    @classmethod
    def of(cls, network: Network) -> Interpreter:
        """Return the interpreter of a network.

        Raises HetcnnError for a weight that the network does not carry or that does not fit, and for an operator that
        is not supported; each message names the layer.
        """
        opsets = {"": network.opset, **network.domains}
        steps = [_step(layer, opsets) for layer in network.layers]
        outputs = [t.name for t in network.outputs]
        return cls([Port(t.name, t.dtype, t.shape) for t in network.inputs], steps, outputs, constants_of(network))

    @cached_property
    def _last_reader(self) -> dict[str, int]:
        return {name: i for i, step in enumerate(self.steps) for name in step.inputs}

    def run(self, inputs: Feed) -> dict[str, Array]:
        """Return output name -> array for the inputs.

        Raises HetcnnError for a missing or unknown input, a wrong type or shape, and for what fails in a layer.
        """
        start = self._start(inputs)
        values = dict(start)
        for _ in self._steps(values, keep=frozenset(self.outputs)):
            pass
        for name in self.outputs:
            if name not in values:
                raise HetcnnError(f"the network's output '{name}' is written by no layer")
        given = {id(array) for array in start.values()}
        return {name: _own(values[name], given) for name in self.outputs}

    def activations(self, inputs: Feed) -> Iterator[tuple[str, Array]]:
        """Yield (tensor name, array) for every input and then every result, in order, as they are computed."""
        values = self._start(inputs)
        yield from ((port.name, values[port.name]) for port in self.ports)
        for written in self._steps(values, keep=frozenset(self.outputs)):
            yield from written.items()

    def _start(self, inputs: Feed) -> dict[str, Array]:
        return {**self._constants, **check_inputs(self.ports, inputs)}

    def _steps(self, values: dict[str, Array], keep: frozenset[str]) -> Iterator[dict[str, Array]]:
        for i, step in enumerate(self.steps):
            with np.errstate(all="ignore"):  # infinities and NaN are results here, not accidents
                written = step(values)
            values.update(written)
            yield written
            for name in {*step.inputs, *step.outputs}:
                if name not in keep and self._last_reader.get(name, i) <= i:
                    values.pop(name, None)


def _own(result: Array, given: set[int]) -> Array:
    """Return a result that is no view of an input or a weight, so that neither changes with the other."""
    if isinstance(result, np.ndarray) and (result.base is not None or id(result) in given):
        return result.copy()
    return result


def _step(layer: Layer, opsets: Mapping[str, int]) -> Step:
    inputs = ["" if t is None else t.name for t in layer.inputs]
    return bind(layer.name, layer.op, layer.domain, inputs, [t.name for t in layer.outputs], layer.attrs, opsets)


def constants_of(network: Network) -> dict[str, Array]:
    """Return the arrays of all constants that the layers read, checked against their tensors."""
    found: dict[str, Array] = {}
    for layer in network.layers:
        for tensor in layer.inputs:
            if tensor is None or not tensor.constant or tensor.name in found:
                continue
            if tensor.name not in network.weights:
                raise HetcnnError(
                    f"layer '{layer.name}' ({layer.op}) reads the weight '{tensor.name}', which network "
                    f"'{network.name}' does not carry; give it weights with with_weights()"
                )
            array = np.asarray(network.weights[tensor.name])
            if array.shape != tensor.shape or array.dtype.name != tensor.dtype:
                raise HetcnnError(
                    f"layer '{layer.name}' ({layer.op}): weight '{tensor.name}' is {array.dtype.name} {array.shape}; "
                    f"the network needs {tensor.dtype} {tensor.shape}"
                )
            found[tensor.name] = array
    for tensor in network.outputs:
        if tensor.constant and tensor.name in network.weights:
            found[tensor.name] = np.asarray(network.weights[tensor.name])
    return found


def check_inputs(ports: Sequence[Port], inputs: Feed) -> dict[str, Array]:
    """Return input name -> array, after checking that there is one for every port and that each one fits.

    >>> ports = [Port("image", "float32", (1, 3))]
    >>> check_inputs(ports, {"imgae": np.zeros((1, 3), np.float32)})
    Traceback (most recent call last):
    hetcnn.errors.HetcnnError: unknown input 'imgae'; did you mean 'image'? Known: image
    """
    names = [port.name for port in ports]
    if isinstance(inputs, Mapping):
        given = dict(inputs)
    else:
        arrays: Iterable[Array] = [inputs] if isinstance(inputs, np.ndarray) else inputs
        listed = list(arrays)
        if len(listed) != len(names):
            raise HetcnnError(f"{len(listed)} inputs; the network needs {len(names)}: {', '.join(names)}")
        given = dict(zip(names, listed, strict=True))
    for name in given:
        if name not in names:
            raise unknown("input", str(name), names)
    for port in ports:
        if port.name not in given:
            raise HetcnnError(f"input '{port.name}' is missing; the network needs {', '.join(names)}")
        given[port.name] = port.checked(given[port.name])
    return given


def run(network: Network, inputs: Feed) -> dict[str, Array]:
    """Run a network once: output name -> array.

    >>> from hetcnn.builder import Builder
    >>> b = Builder("tiny", (1, 3))
    >>> run(b.build(b.relu(b.input, name="y")), np.array([[-1, 0, 2]], np.float32))["y"].tolist()
    [[0.0, 0.0, 2.0]]
    """
    return Interpreter.of(network).run(inputs)
