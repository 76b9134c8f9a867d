"""Which files may hold an id, without asking any: Bloom filters over all files at once.

A cell is a byte, its bits are eight slots, and a file has a slot. Three cells of a key, combined by
`and`, leave the slots in which the key may be: one look instead of one for each file. Without it an
id that is new, as nearly all are, costs a search in every file of the window: measured 2 to 5 µs
each in memory, a disk read each out of it. When a slot is full, one new key in 200 looks like its.

It lives in memory only: 16 MB, then two bytes for each id of the fullest slot. When a layer of it
is full, one of twice the size is laid over it: a filter cannot be enlarged without its keys.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

SLOTS = 8
_CELLS_MIN = 1 << 24  # 16 MB, resident as it fills, for a million ids a slot
_CELLS_PER_ID = 16
_PIECE = 1 << 20
_NEAR = 0xFF  # the cells of a key lie in 256 bytes: one cache miss, not three


class _Layer:
    """Cells for so many keys a slot."""

    def __init__(self, cells: int) -> None:
        self.cells = bytearray(cells)
        self.counts = [0] * SLOTS

    def add(self, slot: int, keys: Sequence[bytes]) -> None:
        self.counts[slot] += len(keys)
        cells, mask, bit = self.cells, len(self.cells) - 1, 1 << slot
        for one, two in _halves(keys):
            at = one & mask
            cells[at] |= bit
            cells[at ^ (two & _NEAR)] |= bit
            cells[at ^ (two >> 8 & _NEAR)] |= bit

    def slots_of(self, keys: Sequence[bytes]) -> list[int]:
        cells, mask, near = self.cells, len(self.cells) - 1, _NEAR
        return [
            cells[(at := one & mask)] & cells[at ^ (two & near)] & cells[at ^ (two >> 8 & near)]
            for one, two in _halves(keys)
        ]

    def keep(self, slots: int) -> None:
        table = bytes(value & slots for value in range(256))
        # In place and in pieces: a translated copy of the whole would double the memory.
        for start in range(0, len(self.cells), _PIECE):
            self.cells[start : start + _PIECE] = self.cells[start : start + _PIECE].translate(table)
        self.counts = [n if slots >> slot & 1 else 0 for slot, n in enumerate(self.counts)]

    def has_room(self, slot: int) -> bool:
        return self.counts[slot] * _CELLS_PER_ID < len(self.cells)


class IdFilter:
    """Slots of keys of 16 bytes."""

    def __init__(self) -> None:
        self._layers = [_Layer(_CELLS_MIN)]

    def add(self, slot: int, keys: Sequence[bytes]) -> None:
        """Put keys into a slot: a step's at a time, so that no layer is filled far beyond."""
        layer = next((layer for layer in self._layers if layer.has_room(slot)), None)
        if layer is None:
            layer = _Layer(2 * len(self._layers[-1].cells))
            self._layers.append(layer)
        layer.add(slot, keys)

    def slots_of(self, keys: Sequence[bytes]) -> list[int]:
        """Return for each key the slots it may be in, as bits."""
        found = self._layers[0].slots_of(keys)
        for layer in self._layers[1:]:
            found = [a | b for a, b in zip(found, layer.slots_of(keys), strict=True)]
        return found

    def clear(self, slots: Iterable[int]) -> None:
        """Empty slots."""
        keep = 0xFF
        for slot in slots:
            keep &= ~(1 << slot)
        for layer in self._layers:
            layer.keep(keep)


def _halves(keys: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    return struct.iter_unpack("<QQ", b"".join(keys))
