"""Remembering which tickets are finished, in bounded memory.

Eight bytes a ticket, in a hash table with open addressing over one flat array: a set of Python
integers would take nine times as much, and grow with traffic. Two ids share a hash, and the
second is taken for a duplicate, with a probability of about `n / 2**64`.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

#: Identities in a full block: what one row of the journal's `seen_block` holds.
BLOCK = 8192


_HASHER = hashlib.blake2b(digest_size=8)


def identity(ticket_id: str) -> int:
    """Return a ticket's 8-byte identity, never 0 (BLAKE2b, RFC 7693, without a key)."""
    hasher = _HASHER.copy()  # twice as fast as a new one
    hasher.update(ticket_id.encode())
    return int.from_bytes(hasher.digest(), "little") or 1


class Seen:
    """The newest identities, at most `cap`, in blocks that are written once when full.

    When there is no room the oldest block goes as a whole, so between `cap` and `cap` less one
    block are remembered. State is exactly the sequence of blocks: a table rebuilt from them
    answers as the one that wrote them.

    >>> seen = Seen(cap=100)
    >>> seen.add(identity("t-1"))
    >>> identity("t-1") in seen, identity("t-2") in seen
    (True, False)
    """

    def __init__(self, cap: int, blocks: Iterable[tuple[int, bytes]] = ()) -> None:
        self._cap = max(1, cap)
        self._block = min(BLOCK, max(1, self._cap // 8))
        size = 1 << (2 * self._cap).bit_length()  # at most half full: probes stay short
        self._mask = size - 1
        self._table = array("Q", bytes(8 * size))
        self._blocks: dict[int, array[int]] = {}
        self._count = 0
        self._written: set[int] = set()
        self._dirty: dict[int, None] = {}
        self._dropped: list[int] = []
        self._current = self._load(sorted(blocks))

    def _load(self, blocks: list[tuple[int, bytes]]) -> int:
        last = -1
        for sequence, body in blocks:
            hashes = array("Q", body)
            self._blocks[sequence] = hashes
            self._written.add(sequence)
            self._count += len(hashes)
            last = sequence
        while self._count > self._cap:  # the cap was lowered
            self._drop_oldest(in_table=False)
        for hashes in self._blocks.values():
            for value in hashes:
                self._insert(value)
        return last

    def __len__(self) -> int:
        return self._count

    def __contains__(self, value: int) -> bool:
        table, mask = self._table, self._mask
        slot = value & mask
        while found := table[slot]:
            if found == value:
                return True
            slot = (slot + 1) & mask
        return False

    def add(self, value: int) -> None:
        """Remember an identity that is not remembered yet."""
        if self._count >= self._cap:
            self._drop_oldest(in_table=True)
        block = self._blocks.get(self._current)
        if block is None or len(block) >= self._block:
            self._current += 1
            block = self._blocks[self._current] = array("Q")
        block.append(value)
        self._dirty[self._current] = None
        self._count += 1
        self._insert(value)

    def take(self) -> tuple[tuple[tuple[int, bytes], ...], tuple[int, ...]]:
        """Return the blocks to write and the sequences to delete since the last call."""
        changed = tuple((number, self._blocks[number].tobytes()) for number in self._dirty)
        dropped = tuple(self._dropped)
        self._written.update(self._dirty)
        self._dirty.clear()
        self._dropped.clear()
        return changed, dropped

    def _insert(self, value: int) -> None:
        table, mask = self._table, self._mask
        slot = value & mask
        while table[slot]:
            slot = (slot + 1) & mask
        table[slot] = value

    def _drop_oldest(self, *, in_table: bool) -> None:
        sequence = next(iter(self._blocks))
        hashes = self._blocks.pop(sequence)
        self._count -= len(hashes)
        self._dirty.pop(sequence, None)
        if sequence in self._written:
            self._written.discard(sequence)
            self._dropped.append(sequence)
        if in_table:
            for value in hashes:
                self._remove(value)

    def _remove(self, value: int) -> None:
        """Take one value out and close the gap (Knuth, TAOCP 3, 6.4, algorithm R).

        A value behind the gap moves into it unless its own first slot lies after the gap:
        moved, it would no longer be found from there.
        """
        table, mask = self._table, self._mask
        gap = value & mask
        while table[gap] != value:
            gap = (gap + 1) & mask
        slot = gap
        while True:
            slot = (slot + 1) & mask
            found = table[slot]
            if not found:
                break
            if (slot - (found & mask)) & mask >= (slot - gap) & mask:
                table[gap] = found
                gap = slot
        table[gap] = 0
