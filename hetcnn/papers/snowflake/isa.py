"""The instruction set: 32-bit instructions with a 4-bit opcode, their binary form, their text and the way back.

Fourteen instructions in four groups. Addresses and lengths count 16-bit words; register 0 is always 0; the four
instructions after a branch are executed whether it is taken or not.

| group | instructions |
|---|---|
| data move | MOV rd, imm; VMOV setting, ra; TMOV rm, ro, rl |
| compute | ADD, MUL rd, ra, rb; ADDI, MULI rd, ra, imm; MAC rm, rw, rl, ro; MAX rm, rc, rl, ro |
| branch | BLE, BGT, BEQ ra, rb, offset |
| memory | LD, ST rb, rd, rl |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hetcnn.errors import HetcnnError, unknown

__all__ = [
    "DELAY_SLOTS",
    "FLAGS",
    "NOP",
    "OPCODES",
    "SETTINGS",
    "Instruction",
    "assemble",
    "decode",
    "encode",
    "listing",
]

DELAY_SLOTS = 4

OPCODES = ("MOV", "VMOV", "TMOV", "ADD", "ADDI", "MUL", "MULI", "MAC", "MAX", "BLE", "BGT", "BEQ", "LD", "ST")

SETTINGS = ("bias", "chunk", "width", "pitch", "residual", "partial", "shift", "bias_shift", "fence")
"""What VMOV sets in the vector unit; `fence` waits until every store has reached the memory.

bias: address of the bias in the weights buffers. chunk, width, pitch: words of a pixel in one unit, over all units, and
between pixels in memory. residual, partial: added to (twice, for partial sums) the result's address. shift, bias_shift:
of the write-back and of the bias.
"""

FLAGS: dict[str, tuple[str, ...]] = {
    "MAC": ("coop", "first", "last", "relu", "add", "pin", "pout"),
    "MAX": ("first", "last"),
    "LD": ("weights", "strided"),
    "ST": ("weights", "strided"),
}
"""One-bit fields, lowest bit first. MAC: cooperative mode; first and last trace of an output; ReLU; add the residual;
begin with, end with a 32-bit partial sum. LD, ST: into the weights buffers; pixel by pixel."""

_REGISTERS = {  # the names of the 5-bit register fields, in order
    "MOV": ("rd",),
    "VMOV": ("rd", "ra"),
    "TMOV": ("rm", "ro", "rl"),
    **dict.fromkeys(("ADD", "MUL"), ("rd", "ra", "rb")),
    **dict.fromkeys(("ADDI", "MULI"), ("rd", "ra")),
    "MAC": ("rm", "rw", "rl", "ro"),
    "MAX": ("rm", "rc", "rl", "ro"),
    **dict.fromkeys(("BLE", "BGT", "BEQ"), ("ra", "rb")),
    **dict.fromkeys(("LD", "ST"), ("rb", "rd", "rl")),
}
_IMMEDIATE = {"MOV": 23, "ADDI": 18, "MULI": 18, "BLE": 18, "BGT": 18, "BEQ": 18}
_TARGET = {"LD": (("units", 4), ("vmacs", 4), ("port", 2)), "ST": (("units", 4), ("vmacs", 4), ("port", 2))}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: opcode, register numbers in the order of its fields, and immediate or flag bits.

    `units`, `vmacs` (bit masks) and `port` say where a load or store goes. Raises HetcnnError for a field out of range.

    >>> mac = Instruction("MAC", (1, 2, 3, 4), flags=("coop", "last"))
    >>> print(mac, hex(encode(mac)))
    MAC r1, r2, r3, r4, coop, last 0x70886405
    """

    op: str
    registers: tuple[int, ...] = ()
    imm: int = 0
    flags: tuple[str, ...] = ()
    units: int = 0
    vmacs: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        if self.op not in _REGISTERS:
            raise unknown("instruction", self.op, OPCODES)
        fields = _REGISTERS[self.op]
        if len(self.registers) != len(fields) or not (min(self.registers) >= 0 and max(self.registers) < 32):
            raise HetcnnError(f"{self.op} {self.registers}: expected {len(fields)} registers from 0 to 31")
        bits = _IMMEDIATE.get(self.op, 0)
        if self.imm and not (bits and -(1 << bits - 1) <= self.imm < 1 << bits - 1):
            raise HetcnnError(f"{self.op}: immediate {self.imm} does not fit into {bits} bits")
        if self.flags:
            self._check_flags()
        if self.units or self.vmacs or self.port:
            self._check_target()

    def _check_flags(self) -> None:
        known = FLAGS.get(self.op, ())
        for flag in self.flags:
            if flag not in known:
                raise unknown(f"flag of {self.op}", flag, known)
        if tuple(flag for flag in known if flag in self.flags) != self.flags:
            raise HetcnnError(f"{self.op}: flags {self.flags}: expected in the order {known}, each once")

    def _check_target(self) -> None:
        widths = dict(_TARGET.get(self.op, ()))
        for name in ("units", "vmacs", "port"):
            if not 0 <= getattr(self, name) < 1 << widths.get(name, 0):
                raise HetcnnError(
                    f"{self.op}: {name} {getattr(self, name)}: expected less than {1 << widths.get(name, 0)}"
                )

    def __str__(self) -> str:
        names = [f"r{r}" for r in self.registers]
        if self.op == "VMOV":
            names[0] = SETTINGS[self.registers[0]] if self.registers[0] < len(SETTINGS) else names[0]
        parts = [*names, *([str(self.imm)] if self.op in _IMMEDIATE else []), *self.flags]
        if self.op in _TARGET:
            parts += [f"units={self.units}", f"vmacs={self.vmacs}", f"port={self.port}"]
        return f"{self.op} {', '.join(parts)}"


NOP = Instruction("ADDI", (0, 0))
"""0 + 0 into register 0."""


def encode(instruction: Instruction) -> int:
    """Return the 32 bits: opcode in the top four, then registers of five bits, then immediate or flags.

    >>> hex(encode(Instruction("ADDI", (5, 1), imm=-1)))           # 0100 00101 00001 and eighteen ones
    '0x4287ffff'
    """
    word, at = OPCODES.index(instruction.op) << 28, 28
    for register in instruction.registers:
        at -= 5
        word |= register << at
    if bits := _IMMEDIATE.get(instruction.op):
        return word | instruction.imm & (1 << bits) - 1
    low = sum(1 << FLAGS[instruction.op].index(flag) for flag in instruction.flags)
    shift = len(FLAGS.get(instruction.op, ()))
    for name, width in _TARGET.get(instruction.op, ()):
        low |= getattr(instruction, name) << shift
        shift += width
    return word | low


def decode(word: int) -> Instruction:
    """Return the instruction that `encode` made; raise HetcnnError for bits that no instruction has.

    >>> print(decode(0x4287FFFF))
    ADDI r5, r1, -1
    """
    if word >> 28 >= len(OPCODES):
        raise HetcnnError(f"{word:#010x}: opcode {word >> 28} is none of the {len(OPCODES)}")
    op, at = OPCODES[word >> 28], 28
    registers = []
    for _ in _REGISTERS[op]:
        at -= 5
        registers.append(word >> at & 31)
    imm, flags, target = 0, FLAGS.get(op, ()), {}
    if bits := _IMMEDIATE.get(op):
        imm = word & (1 << bits) - 1
        imm -= (imm >> bits - 1) << bits
    found = tuple(flag for i, flag in enumerate(flags) if word >> i & 1)
    shift = len(flags)
    for name, width in _TARGET.get(op, ()):
        target[name] = word >> shift & (1 << width) - 1
        shift += width
    instruction = Instruction(op, tuple(registers), imm, found, **target)
    if encode(instruction) != word:
        raise HetcnnError(f"{word:#010x}: {op} with bits set that mean nothing")
    return instruction


_TOKEN = re.compile(r"r(\d+)$")


def assemble(line: str) -> Instruction:
    """Return the instruction of one line of text; what follows a semicolon is a comment.

    >>> assemble("BGT r5, r0, -12   ; next pixel") == Instruction("BGT", (5, 0), imm=-12)
    True
    """
    op, _, rest = line.partition(";")[0].strip().partition(" ")
    registers, flags, target, imm = [], [], {}, 0
    for token in (t.strip() for t in rest.split(",") if t.strip()):
        name, _, value = token.partition("=")
        if found := _TOKEN.match(token):
            registers.append(int(found[1]))
        elif op == "VMOV" and token in SETTINGS:
            registers.append(SETTINGS.index(token))
        elif value.isdigit() and name in ("units", "vmacs", "port"):
            target[name] = int(value)
        elif token.lstrip("-").isdigit():
            imm = int(token)
        else:
            flags.append(token)
    return Instruction(op, tuple(registers), imm, tuple(flags), **target)


def listing(words: Sequence[int] | NDArray[np.uint32], notes: dict[int, str] | None = None, start: int = 0) -> str:
    """Return the disassembly of binary code: address, bits, text, and a note where there is one."""
    lines = []
    for at, word in enumerate(words, start):
        note = f"   ; {notes[at]}" if notes and at in notes else "   ; no operation" if word == encode(NOP) else ""
        lines.append(f"{at:6d}  {int(word):08x}  {str(decode(int(word))) + note}")
    return "\n".join(lines)
