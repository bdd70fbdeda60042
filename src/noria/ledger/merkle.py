"""A Merkle tree that only grows, and proofs about it that verify without the ledger.

Source: RFC 6962 section 2.1 (hashes and proofs) and RFC 9162 section 2.1 (verification). SHA-256 throughout.
What is stored is the hash of each complete subtree under its (level, index): level 0 holds the leaves, and node
(level, index) covers leaves index * 2**level to (index + 1) * 2**level - 1. A complete subtree never changes, so the
stored nodes answer for every size that the tree has had.
"""

import hashlib
from collections.abc import Callable, Sequence

from noria.core.errors import Invalid

Get = Callable[[int, int], bytes]
"""Reads the hash of one complete subtree by its level and index."""

Node = tuple[tuple[int, int], bytes]
"""The place (level, index) of a complete subtree, and its hash."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf; its prefix keeps a leaf from passing for a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(size: int, leaf: bytes, get: Get) -> list[Node]:
    """Return the nodes to store when a leaf's hash joins a tree of `size` leaves.

    The leaf comes first, then each subtree that it completes: two nodes per leaf on average.
    """
    level, index, digest = 0, size, leaf
    nodes: list[Node] = [((level, index), digest)]
    while index & 1:
        digest = node_hash(get(level, index - 1), digest)
        level, index = level + 1, index >> 1
        nodes.append(((level, index), digest))
    return nodes


def root(size: int, get: Get) -> bytes:
    """Return the root of the tree's first `size` leaves, reading at most log2(size) + 1 nodes."""
    return _hash_of(0, size, get) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, get: Get) -> list[bytes]:
    """Return the hashes that lead from leaf `index` to the root of the first `size` leaves."""
    if not 0 <= index < size:
        raise Invalid(f"a tree of {size} leaves has no leaf {index}", hint=f"ask for a leaf from 0 to {size - 1}")
    begin, end = 0, size
    path: list[bytes] = []
    while end - begin > 1:
        middle = begin + _left_width(end - begin)
        if index < middle:
            path.append(_hash_of(middle, end, get))
            end = middle
        else:
            path.append(_hash_of(begin, middle, get))
            begin = middle
    return path[::-1]


def consistency_proof(old: int, new: int, get: Get) -> list[bytes]:
    """Return the hashes that show the tree of `new` leaves to begin with the tree of `old` leaves."""
    if not 0 <= old <= new:
        raise Invalid(f"a tree of {new} leaves never had {old}", hint="the old size comes first")
    if old in (0, new):
        return []
    begin, end = 0, new
    path: list[bytes] = []
    while end != old:
        middle = begin + _left_width(end - begin)
        if old <= middle:
            path.append(_hash_of(middle, end, get))
            end = middle
        else:
            path.append(_hash_of(begin, middle, get))
            begin = middle
    known = [_hash_of(begin, end, get)] if begin else []
    return known + path[::-1]


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether a leaf's hash stands at `index` in the tree of `size` leaves that has this root."""
    if not 0 <= index < size:
        return False
    position, last, digest = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            digest = node_hash(sibling, digest)
            position, last = _past_right_edge(position, last)
        else:
            digest = node_hash(digest, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and digest == root


def verify_consistency(*, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether the tree of `new` leaves begins with the tree of `old` leaves, each given by its root."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < new:
        return False
    if old & (old - 1) == 0:
        return _leads_to_both(old - 1, new - 1, [old_root, *proof], (old_root, new_root))
    return _leads_to_both(old - 1, new - 1, proof, (old_root, new_root))


def _leads_to_both(position: int, last: int, path: Sequence[bytes], roots: tuple[bytes, bytes]) -> bool:
    """Climb from the old tree's last complete subtree, building the old root and the new one."""
    while position & 1:
        position, last = position >> 1, last >> 1
    if not path:
        return False
    was = now = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            position, last = _past_right_edge(position, last)
        else:
            now = node_hash(now, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and (was, now) == roots


def _past_right_edge(position: int, last: int) -> tuple[int, int]:
    """Skip the levels at which a node on the right edge has no sibling."""
    while not position & 1 and position:
        position, last = position >> 1, last >> 1
    return position, last


def _left_width(leaves: int) -> int:
    """Return the largest power of two below a number of leaves: how many of them go to the left child."""
    return 1 << (leaves - 1).bit_length() - 1


def _hash_of(begin: int, end: int, get: Get) -> bytes:
    """Return the hash over leaves begin to end - 1, folding complete subtrees from the right."""
    pieces: list[bytes] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        pieces.append(get(level, begin >> level))
        begin += 1 << level
    digest = pieces.pop()
    while pieces:
        digest = node_hash(pieces.pop(), digest)
    return digest
