"""What is computed: 16-bit words in the buffers of every unit, 32-bit accumulators, one rounding and one saturation.

Everything runs on many output pixels at once (axis 1): the iterations of an inner loop differ only in their addresses.
Words lie in float64 arrays, in which all sums of products are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetcnn.kernels.fixed_point import write_back
from hetcnn.papers.snowflake.config import Machine

__all__ = ["Values"]

Floats = NDArray[np.float64]


class Values:
    """The contents of the memory and of one machine's buffers."""

    def __init__(self, machine: Machine, memory: NDArray[np.int16]) -> None:
        self.machine, self.memory = machine, memory
        self.maps = np.zeros((machine.units, 2 * machine.bank))
        self.weights = np.zeros((machine.units, machine.vmacs, machine.weights))
        self.sums: Floats = np.zeros(0)
        self.largest: Floats = np.zeros(0)

    # --- loads, stores, moves ---------------------------------------------------------------------------------------

    def load(self, buffer: int, address: int, words: int, units: Sequence[int]) -> None:
        """Copy words into the maps buffers of some units."""
        self.maps[list(units), buffer : buffer + words] = self.memory[address : address + words]

    def load_weights(self, buffer: int, address: int, words: int, units: Sequence[int], vmacs: Sequence[int]) -> None:
        """Copy words into the weights buffers of some vMACs of some units."""
        for unit in units:
            self.weights[unit, list(vmacs), buffer : buffer + words] = self.memory[address : address + words]

    def _pixels(self, address: int, pixels: int, settings: dict[str, int]) -> NDArray[np.int64]:
        return np.asarray(address + settings["pitch"] * np.arange(pixels)[:, None] + np.arange(settings["width"]))

    def load_pixels(
        self, buffer: int, address: int, pixels: int, units: Sequence[int], settings: dict[str, int]
    ) -> None:
        """Copy `width` words of every pixel: all to each unit if a chunk has room, else a chunk to each in turn."""
        words, chunk = self.memory[self._pixels(address, pixels, settings)], settings["chunk"]
        whole = settings["width"] <= chunk
        for i, unit in enumerate(units):
            part = words if whole else words[:, i * chunk : (i + 1) * chunk]
            view = self.maps[unit, buffer : buffer + pixels * chunk].reshape(pixels, chunk)
            view[:, : part.shape[1]] = part

    def store_pixels(
        self, buffer: int, address: int, pixels: int, units: Sequence[int], settings: dict[str, int]
    ) -> None:
        """Copy `chunk` words of every pixel from each unit, as many as `width` has room for."""
        chunk = settings["chunk"]
        parts = [self.maps[unit, buffer : buffer + pixels * chunk].reshape(pixels, chunk) for unit in units]
        words = np.concatenate(parts, axis=1)[:, : settings["width"]]
        self.memory[self._pixels(address, pixels, settings)] = words.astype(np.int16)

    def move(self, source: int, target: int, words: int) -> None:
        """Copy words within every unit."""
        self.maps[:, target : target + words] = self.maps[:, source : source + words].copy()

    # --- traces -----------------------------------------------------------------------------------------------------

    def _read(self, addresses: NDArray[np.int64], words: int) -> Floats:
        """Return (unit, pixel, word)."""
        if len(addresses) == 1:
            return self.maps[:, None, addresses[0] : addresses[0] + words]
        return self.maps[:, addresses[:, None] + np.arange(words)]

    def mac(
        self,
        maps: NDArray[np.int64],
        weights: int,
        words: int,
        out: NDArray[np.int64],
        flags: frozenset[str],
        settings: dict[str, int],
    ) -> None:
        """Run one trace for many pixels."""
        coop = "coop" in flags
        if "first" in flags:
            self.sums = (
                self._partial(out, coop, settings) if "pin" in flags else self._biases(len(maps), coop, settings)
            )
        data = self._read(maps, words)
        if coop:
            kernel = self.weights[:, :, weights : weights + words].transpose(0, 2, 1)
            self.sums = self.sums + data @ kernel
        else:
            macs = self.machine.macs
            kernel = self.weights[:, :, weights : weights + words * macs].reshape(*self.weights.shape[:2], words, macs)
            kernel = kernel.transpose(0, 2, 1, 3).reshape(len(kernel), words, -1)
            self.sums = self.sums + data @ kernel
        if "pout" in flags:
            self._put_partial(out, settings)
        elif "last" in flags:
            self._write(out, flags, settings)

    def _biases(self, pixels: int, coop: bool, settings: dict[str, int]) -> Floats:
        at = settings["bias"]
        words = self.weights[:, :, at : at + (1 if coop else self.machine.macs)]
        bias = words.reshape(len(words), 1, -1) * 2.0 ** settings["bias_shift"]
        return np.repeat(bias, pixels, axis=1)

    def _lanes(self, coop: bool) -> int:
        return self.machine.vmacs * (1 if coop else self.machine.macs)

    def _partial(self, out: NDArray[np.int64], coop: bool, settings: dict[str, int]) -> Floats:
        at = (2 * out + settings["partial"])[:, None] + 2 * np.arange(self._lanes(coop))
        low, high = self.maps[:, at].astype(np.int64), self.maps[:, at + 1].astype(np.int64)
        return np.asarray((high << 16) + (low & 0xFFFF), np.float64)

    def _put_partial(self, out: NDArray[np.int64], settings: dict[str, int]) -> None:
        wrapped = self.sums.astype(np.int64).astype(np.int32)
        at = (2 * out + settings["partial"])[:, None] + 2 * np.arange(wrapped.shape[2])
        self.maps[:, at] = wrapped.astype(np.int16)
        self.maps[:, at + 1] = wrapped >> 16

    def _write(self, out: NDArray[np.int64], flags: frozenset[str], settings: dict[str, int]) -> None:
        words: NDArray[Any] = write_back(self.sums, settings["shift"])
        at = out[:, None] + np.arange(words.shape[2])
        if "add" in flags:
            total = words.astype(np.int64) + self.maps[:, at + settings["residual"]].astype(np.int64)
            words = np.clip(total, -(2**15), 2**15 - 1)
        self.maps[:, at] = np.maximum(words, 0) if "relu" in flags else words

    def maximum(
        self, maps: NDArray[np.int64], depth: int, words: int, out: NDArray[np.int64], flags: frozenset[str]
    ) -> None:
        """Take the largest word of every channel along a trace, and of the traces since the first."""
        data = self._read(maps, words).reshape(len(self.maps), len(maps), -1, depth).max(axis=2)
        self.largest = data if "first" in flags else np.maximum(self.largest, data)
        if "last" in flags:
            self.maps[:, out[:, None] + np.arange(depth)] = self.largest
