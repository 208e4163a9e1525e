"""A list of instructions under construction: constants of any size, counted loops, load ports by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from hetcnn.papers.snowflake.isa import DELAY_SLOTS, NOP, SETTINGS, Instruction

__all__ = ["LONGEST_LOOP", "Emitter"]

LONGEST_LOOP = 512
"""Instructions of one bank of the instruction cache: no branch goes further."""

_ADDI = 1 << 17
_MOV = 1 << 22
SCRATCH = 15


class Emitter:
    """Instructions with notes for the reader; `ports` holds the bytes that each load port will carry."""

    def __init__(self, ports: int, balance: bool = True) -> None:
        self.code: list[Instruction] = []
        self.notes: dict[int, str] = {}
        self.ports = np.zeros(ports)
        self.balance = balance
        self.trips = 1
        self.borrowed: set[int] = set()
        """Places of loads that belong to the next task."""

    def __len__(self) -> int:
        return len(self.code)

    def note(self, text: str) -> None:
        """Say what follows."""
        self.notes.setdefault(len(self.code), text)

    def emit(self, op: str, *registers: int, imm: int = 0, flags: tuple[str, ...] = (), **target: int) -> None:
        """Append one instruction."""
        self.code.append(Instruction(op, registers, imm, flags, **target))

    def li(self, register: int, value: int) -> None:
        """Load a constant: one instruction up to 23 bits, three beyond."""
        if -_MOV <= value < _MOV:
            self.emit("MOV", register, imm=value)
            return
        high, low = divmod(value, 1 << 16)
        self.emit("MOV", register, imm=high)
        self.emit("MULI", register, register, imm=1 << 16)
        self.emit("ADDI", register, register, imm=low)

    def add(self, register: int, base: int, value: int) -> None:
        """Set a register to another one plus a constant of any size."""
        if -_ADDI <= value < _ADDI:
            self.emit("ADDI", register, base, imm=value)
        else:
            self.li(SCRATCH, value)
            self.emit("ADD", register, base, SCRATCH)

    def set(self, setting: str, register: int) -> None:
        """Move a register to the vector unit."""
        self.emit("VMOV", SETTINGS.index(setting), register)

    def set_to(self, setting: str, value: int) -> None:
        """Set the vector unit to a constant."""
        self.li(SCRATCH, value)
        self.set(setting, SCRATCH)

    def slots(self, filled: int = 0) -> None:
        """Fill what is left of a branch's delay slots."""
        self.code += [NOP] * (DELAY_SLOTS - filled)

    def port(self, words: float) -> int:
        """Return the port for a transfer: the one with the least to carry so far, or always the first."""
        found = int(np.argmin(self.ports)) if self.balance else 0
        self.ports[found] += 2 * words * self.trips
        return found

    def sub(self) -> Emitter:
        """Return an empty list that goes on with the same ports."""
        other = Emitter(len(self.ports), self.balance)
        other.ports, other.trips = self.ports.copy(), self.trips
        return other

    def take(self, other: Emitter) -> None:
        """Append what `sub` collected."""
        for at, text in other.notes.items():
            self.notes.setdefault(len(self.code) + at, text)
        self.borrowed |= {len(self.code) + at for at in other.borrowed}
        self.code += other.code
        self.ports = other.ports

    @contextmanager
    def for_the_next(self) -> Iterator[None]:
        """Mark what is emitted inside as the next task's."""
        start = len(self.code)
        yield
        self.borrowed |= set(range(start, len(self.code)))

    @contextmanager
    def loop(self, counter: int, count: int) -> Iterator[None]:
        """Repeat what is emitted inside; nothing is added around it if it runs once."""
        if count == 1:
            yield
            return
        self.li(counter, count)
        start, self.trips = len(self.code), self.trips * count
        yield
        self.trips //= count
        self.emit("ADDI", counter, counter, imm=-1)
        self.emit("BGT", counter, 0, imm=start - len(self.code))
        self.slots()

    def repeat(self, counter: int, count: int, body: Callable[[Emitter, int | None], None], *, unroll: bool) -> None:
        """Repeat `body(emitter, index)`: as a loop (index None) if one bank of the cache holds it, else unrolled."""
        looped = self.sub()
        looped.trips *= count
        if count > 1 and not unroll:
            body(looped, None)
            looped.trips //= count
            if len(looped) + DELAY_SLOTS + 2 <= LONGEST_LOOP:
                self.li(counter, count)
                start = len(self.code)
                self.take(looped)
                self.emit("ADDI", counter, counter, imm=-1)
                self.emit("BGT", counter, 0, imm=start - len(self.code))
                self.slots()
                return
        for index in range(count):
            body(self, index)
