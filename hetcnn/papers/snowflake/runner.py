"""Executes a program's instructions: scalars here, time in a `Timeline`, values in a `Values`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetcnn.kernels.interpreter import bind
from hetcnn.network import Layer
from hetcnn.papers.snowflake.compiler import Program, Segment
from hetcnn.papers.snowflake.isa import DELAY_SLOTS, NOP, SETTINGS, Instruction
from hetcnn.papers.snowflake.plan import line_count
from hetcnn.papers.snowflake.steady import Steady
from hetcnn.papers.snowflake.timeline import Counts, Span, Timeline, Trace
from hetcnn.papers.snowflake.values import Values

__all__ = ["Runner"]

Words = NDArray[np.int16]
_BRANCHES = frozenset({"BLE", "BGT", "BEQ"})
_LONG = 60
"""Instructions of a loop's body from which on it pays to watch whether it has settled."""


@dataclass(frozen=True, slots=True)
class _Loop:
    """An inner loop: its vector instructions, what registers have gained before each, their places among an iteration's
    instructions, what registers gain in an iteration, and the least and greatest offset into the map."""

    vectors: tuple[Instruction, ...]
    offsets: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]
    change: tuple[int, ...]
    reach: tuple[int, int]


class Runner:
    """One run of a program, with values if there is a memory for them."""

    def __init__(self, program: Program, values: Values | None) -> None:
        self.program, self.values, self.machine = program, values, program.machine
        self.code = program.instructions
        self.r = [0] * 32
        self.settings = dict.fromkeys(SETTINGS, 0)
        self.time = Timeline(program.machine)
        self.loops: dict[int, _Loop | None] = {}
        self.entries: dict[int, int] = {}
        self.flags = {i.flags: frozenset(i.flags) for i in self.code}
        self.units, self.vmacs = (
            [tuple(i for i in range(count) if mask >> i & 1) for mask in range(16)]
            for count in (self.machine.units, self.machine.vmacs)
        )
        self.host: dict[str, NDArray[np.generic]] = {}
        self.coop = False
        self.steady = Steady() if values is None else None
        self.pc = 0
        self.later = self._nothing()

    def _nothing(self) -> Counts:
        return Counts(ports=[0] * self.machine.ports)

    def run(self, inputs: dict[str, NDArray[np.generic]]) -> Iterator[tuple[Segment, float, float, Counts]]:
        """Run a frame: yield every task with its start and end in cycles and what it did."""
        self.host = inputs
        if self.values is not None:
            for tensor in self.program.graph.network.inputs:
                self._publish(tensor.name)
        end = 0.0
        for segment in self.program.segments:
            if segment.host is not None:
                self._on_host(segment.host)
                continue
            self.time.counts, self.later = self.later, self._nothing()
            self._segment(segment.start, segment.end)
            start, end = end, max(self.time.core, self.time.vector, self.time.pooling)
            if segment is self.program.work[-1]:
                end = max(end, self.time.stored)
            yield segment, start, end, self.time.counts

    # --- host -------------------------------------------------------------------------------------------------------

    def _on_host(self, layer: Layer) -> None:
        """Compute a layer of the host's, from the machine's memory and back into it."""
        if self.values is None:
            return
        network = self.program.graph.network
        for tensor in layer.inputs:
            if tensor is not None and tensor.name not in self.host:
                self.host[tensor.name] = (
                    np.asarray(network.weights[tensor.name]) if tensor.constant else self._fetch(tensor.name)
                )
        names = ["" if t is None else t.name for t in layer.inputs]
        opsets = {"": network.opset, **network.domains}
        step = bind(layer.name, layer.op, layer.domain, names, [t.name for t in layer.outputs], layer.attrs, opsets)
        self.host.update(step(self.host))
        for tensor in layer.outputs:
            self._publish(tensor.name)

    def _place(self, name: str) -> tuple[int, int, tuple[int, int, int]] | None:
        graph = self.program.graph
        place = graph.storage.get(name)
        if place is None or place.base not in self.program.layout.tensors:
            return None
        return self.program.layout.address(name), place.pitch, graph.shapes[name]

    def _publish(self, name: str) -> None:
        """Put a tensor of the host's into the machine's memory if the machine reads it."""
        place = self._place(name)
        if place is None or self.values is None or name not in self.host or self.host[name].dtype != np.int16:
            return
        address, pitch, (height, width, channels) = place
        image = self.host[name][0].transpose(1, 2, 0).reshape(height * width, channels)
        at = address + pitch * np.arange(height * width)[:, None] + np.arange(channels)
        self.values.memory[at] = image

    def _fetch(self, name: str) -> Words:
        """Return a tensor of the machine's memory as (1, C, H, W)."""
        graph = self.program.graph
        name = graph.names.get(name, name)
        place = self._place(name)
        assert place is not None, name
        assert self.values is not None
        address, pitch, (height, width, channels) = place
        at = address + pitch * np.arange(height * width)[:, None] + np.arange(channels)
        words = self.values.memory[at].reshape(height, width, channels)
        return np.ascontiguousarray(words.transpose(2, 0, 1)[None])

    def tensors(self) -> dict[str, Words]:
        """Return every tensor that the machine has stored, as (1, C, H, W); none without values."""
        if self.values is None:
            return {}
        found = {}
        for segment in self.program.work:
            last = segment.plan.pool or segment.plan.task
            found[last.target] = self._fetch(last.target)
        return found

    # --- instructions -----------------------------------------------------------------------------------------------

    def _segment(self, pc: int, end: int) -> None:
        code, r, time = self.code, self.r, self.time
        executed = 0
        while pc < end:
            instruction = code[pc]
            op = instruction.op
            if op == "ADDI" or op == "MOV":  # most of them, here without a call
                rd = instruction.registers[0]
                r[rd] = instruction.imm + (r[instruction.registers[1]] if op == "ADDI" else 0)
                r[0] = 0
                time.core += 1
                executed += 1
                pc += 1
                continue
            if pc in self.entries:  # a loop that is known: all its iterations together
                branch = self.entries[pc]
                self._together(branch, code[branch])
                pc = branch + 1 + DELAY_SLOTS
                continue
            if op not in _BRANCHES:
                self.pc = pc
                self._step(instruction)
                pc += 1
                continue
            a, b = (r[x] for x in instruction.registers)
            taken = a <= b if op == "BLE" else a > b if op == "BGT" else a == b
            time.issue(1 + DELAY_SLOTS)
            for slot in code[pc + 1 : pc + 1 + DELAY_SLOTS]:
                if slot is not NOP:
                    time.issue(-1)
                    self._step(slot)
            if not taken or (instruction.imm < 0 and self._together(pc, instruction)):
                pc += 1 + DELAY_SLOTS
                continue
            if instruction.imm < -_LONG and self.steady is not None:
                time.counts.instructions, executed = time.counts.instructions + executed, 0
                self.steady.skip(pc, r[instruction.registers[0]], r, time)
            pc += instruction.imm
        time.counts.instructions += executed

    def _step(self, i: Instruction) -> None:
        """Execute one instruction that is no branch."""
        r, op = self.r, i.op
        self.time.issue()
        if op == "ADDI":
            r[i.registers[0]] = r[i.registers[1]] + i.imm
        elif op == "MAC":
            self._mac(i)
        elif op == "MOV":
            r[i.registers[0]] = i.imm
        elif op == "ADD":
            r[i.registers[0]] = r[i.registers[1]] + r[i.registers[2]]
        elif op == "MULI":
            r[i.registers[0]] = r[i.registers[1]] * i.imm
        elif op == "MUL":
            r[i.registers[0]] = r[i.registers[1]] * r[i.registers[2]]
        elif op == "MAX":
            self._max(i)
        elif op == "VMOV":
            self._set(SETTINGS[i.registers[0]], r[i.registers[1]])
        elif op == "LD" and self.pc in self.program.borrowed:
            self.time.counts, self.later = self.later, self.time.counts
            self._load(i)
            self.time.counts, self.later = self.later, self.time.counts
        elif op == "LD":
            self._load(i)
        elif op == "ST":
            self._store(i)
        else:
            self._move(i)
        r[0] = 0

    def _set(self, name: str, value: int) -> None:
        if name == "fence":
            self.time.fence()
        self.settings[name] = value

    def _load(self, i: Instruction) -> None:
        buffer, address, count = (self.r[x] for x in i.registers)
        if count == 0:
            return
        flags, settings, counts = self.flags[i.flags], self.settings, self.time.counts
        units = self.units[i.units]
        if "strided" in flags:
            self.time.load(0, Span(buffer, buffer + count * settings["chunk"]), 2 * count * settings["width"], i.port)
            counts.maps += 2 * count * settings["width"]
            if self.values:
                self.values.load_pixels(buffer, address, count, units, settings)
        elif "weights" in flags:
            self.time.load(1, Span(buffer, buffer + count), 2 * count, i.port)
            counts.weights += 2 * count
            if self.values:
                self.values.load_weights(buffer, address, count, units, self.vmacs[i.vmacs])
        else:
            self.time.load(0, Span(buffer, buffer + count), 2 * count, i.port)
            counts.maps += 2 * count
            if self.values:
                self.values.load(buffer, address, count, units)

    def _store(self, i: Instruction) -> None:
        buffer, address, pixels = (self.r[x] for x in i.registers)
        settings, units = self.settings, self.units[i.units]
        nbytes = 2 * pixels * settings["width"]
        # Cooperative traces read the buffer in every cycle; in independent mode the port is free 15 times in 16. Units
        # that store rows of their own do so at the same time: the first one's count.
        lines = line_count(pixels * settings["chunk"]) if self.coop and 0 in units else 0
        self.time.store(Span(buffer, buffer + pixels * settings["chunk"]), nbytes, i.port, lines)
        self.time.counts.stores += nbytes
        if self.values:
            self.values.store_pixels(buffer, address, pixels, units, settings)

    def _move(self, i: Instruction) -> None:
        source, target, words = (self.r[x] for x in i.registers)
        self.time.move(line_count(words))
        if self.values:
            self.values.move(source, target, words)

    # --- vector instructions ----------------------------------------------------------------------------------------

    def _trace(self, i: Instruction, registers: Sequence[int], change: Sequence[int], times: int) -> Trace:
        """Return a vector instruction's cycles and what it touches over `times` iterations."""
        rm, rw, rl, ro = i.registers
        maps, other, words, out = registers[rm], registers[rw], registers[rl], registers[ro]
        end, written = maps + (words or 1), out
        if times > 1:
            run = (times - 1) * change[rm]
            maps, end = maps + min(run, 0), end + max(run, 0)
            written += (times - 1) * change[ro]
        flags = self.flags[i.flags]
        self.coop = i.op == "MAX" or "coop" in flags
        last = "last" in flags
        if i.op == "MAX":
            writes = Span(out, written + other) if last else None
            return Trace(line_count(words), Span(maps, end), None, writes, gathers=False)
        per = 1 if self.coop else self.machine.macs
        written += self.machine.vmacs * per
        shift = self.settings["residual"]
        return Trace(
            line_count(words) * per,
            Span(maps, end),
            Span(other, other + (words or 1) * per),
            Span(out, written) if last and "pout" not in flags else None,
            gathers=last,
            residual=Span(out + shift, written + shift) if "add" in flags else None,
            lines=self._lines(flags),
        )

    @staticmethod
    def _lines(flags: frozenset[str]) -> int:
        """Lines that a trace reads beside its map: in independent mode the port is free 15 times in 16."""
        return len(flags & {"add", "pin"}) if "coop" in flags else 0

    def _mac(self, i: Instruction) -> None:
        self.time.trace(self._trace(i, self.r, self.r, 1))
        if self.values:
            self._compute(i, self.r, None, 1)

    _max = _mac

    def _compute(self, i: Instruction, registers: Sequence[int], change: Sequence[int] | None, times: int) -> None:
        assert self.values is not None
        maps, other, words, out = (registers[x] for x in i.registers)
        each = np.arange(times)
        maps_at = maps + each * (change[i.registers[0]] if change else 0)
        out_at = out + each * (change[i.registers[3]] if change else 0)
        if i.op == "MAX":
            self.values.maximum(maps_at, other, words, out_at, self.flags[i.flags])
        else:
            self.values.mac(maps_at, other, words, out_at, self.flags[i.flags], self.settings)

    # --- inner loops ------------------------------------------------------------------------------------------------

    def _together(self, pc: int, branch: Instruction) -> bool:
        """Run the iterations that are left of an inner loop at once; False if it is no such loop."""
        if pc not in self.loops:
            self.loops[pc] = self._loop(pc, branch)
            if self.loops[pc] is not None:
                self.entries[pc + branch.imm] = pc
        loop = self.loops[pc]
        if loop is None:
            return False
        r, times = self.r, self.r[branch.registers[0]]
        if self.values:
            for i, offset in zip(loop.vectors, loop.offsets, strict=True):
                at = [x + y for x, y in zip(r, offset, strict=True)]
                self._compute(i, at, loop.change, times)
        self.time.loop(times, DELAY_SLOTS + 1 - branch.imm, loop.places, self._union(loop, times))
        # In place: the loop over instructions holds on to the list.
        r[:] = [x + times * c for x, c in zip(r, loop.change, strict=True)]
        return True

    def _union(self, loop: _Loop, times: int) -> Trace:
        """Return all traces of the iterations left as one: what they touch together, and one trace's cycles."""
        r, change, last = self.r, loop.change, loop.vectors[-1]
        lead = loop.vectors[0]
        low, high = loop.reach
        maps = r[lead.registers[0]] + low
        run = (times - 1) * change[lead.registers[0]]
        words = r[lead.registers[2]]
        span = Span(maps + min(run, 0), maps + high - low + max(run, 0) + max(words, 1))
        one = self._trace(last, [x + y for x, y in zip(r, loop.offsets[-1], strict=True)], change, times)
        weights = None
        if one.weights is not None:
            firsts = [r[i.registers[1]] + o[i.registers[1]] for i, o in zip(loop.vectors, loop.offsets, strict=True)]
            weights = Span(min(firsts), max(firsts) + one.weights.end - one.weights.first)
        lines = sum(self._lines(self.flags[i.flags]) for i in loop.vectors)
        return one._replace(maps=span, weights=weights, lines=lines)

    def _loop(self, pc: int, branch: Instruction) -> _Loop | None:
        """Return a loop of traces and additions to registers that counts down to zero, or None."""
        counter = branch.registers[0]
        start = pc + branch.imm
        change, vectors, offsets, places = [0] * 32, [], [], []
        for place in (*range(start, pc), *range(pc + 1, pc + 1 + DELAY_SLOTS)):
            i = self.code[place]
            if i.op in ("MAC", "MAX"):
                vectors.append(i)
                offsets.append(tuple(change))
                places.append(place - start)
            elif i.op == "ADDI" and i.registers[0] == i.registers[1]:
                change[i.registers[0]] += i.imm
                change[0] = 0
            else:
                return None
        if branch.op != "BGT" or branch.registers[1] != 0 or change[counter] != -1 or not vectors:
            return None
        steady = all(change[i.registers[1]] == change[i.registers[2]] == 0 for i in vectors)
        alike = len({(i.op, i.registers[0], i.registers[2], "coop" in i.flags) for i in vectors}) == 1
        if not steady or not alike or "first" not in vectors[0].flags or "last" not in vectors[-1].flags:
            return None
        maps = [o[i.registers[0]] for i, o in zip(vectors, offsets, strict=True)]
        return _Loop(tuple(vectors), tuple(offsets), tuple(places), tuple(change), (min(maps), max(maps)))
