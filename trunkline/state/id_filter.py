"""Which files may hold an id, without asking any: one Bloom filter over all files at once.

A cell is a byte, its bits are eight slots, and a file has a slot. Three cells of a key, combined by
`and`, leave the slots in which the key may be: one look instead of one for each file. Without it an
id that is new, as nearly all are, costs a search in every file of the window: measured 2 to 5 µs
each in memory, a disk read each out of it.

It lives in memory only, one to two bytes an id of the fullest slot, and grows by doubling: copied
behind itself, every key is found in both halves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

SLOTS = 8
_CELLS_MIN = 1 << 20
_CELLS_PER_ID = 8  # to 16: one key in thirty looks like a slot's when full, in two hundred after
_SHIFT = 32


class IdFilter:
    """Slots of keys of 16 bytes."""

    def __init__(self) -> None:
        self._cells = bytearray(_CELLS_MIN)
        self._counts = [0] * SLOTS

    def add(self, slot: int, keys: Sequence[bytes]) -> None:
        """Put keys into a slot."""
        self._counts[slot] += len(keys)
        while len(self._cells) < self._counts[slot] * _CELLS_PER_ID:
            self._cells *= 2
        cells, mask, bit = self._cells, len(self._cells) - 1, 1 << slot
        for one, two in _halves(keys):
            cells[one & mask] |= bit
            cells[one >> _SHIFT & mask] |= bit
            cells[two & mask] |= bit

    def slots_of(self, keys: Sequence[bytes]) -> Iterator[int]:
        """Yield for each key the slots it may be in, as bits."""
        cells, mask = self._cells, len(self._cells) - 1
        for one, two in _halves(keys):
            yield cells[one & mask] & cells[one >> _SHIFT & mask] & cells[two & mask]

    def clear(self, slots: Iterable[int]) -> None:
        """Empty slots."""
        keep = 0xFF
        for slot in slots:
            keep &= ~(1 << slot)
            self._counts[slot] = 0
        table = bytes(value & keep for value in range(256))
        # In place and in pieces: a translated copy of the whole would double the memory.
        for start in range(0, len(self._cells), _CELLS_MIN):
            piece = self._cells[start : start + _CELLS_MIN]
            self._cells[start : start + _CELLS_MIN] = piece.translate(table)


def _halves(keys: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    return struct.iter_unpack("<QQ", b"".join(keys))  # pyright: ignore[reportReturnType] two each
