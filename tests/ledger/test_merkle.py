"""Laws of the Merkle tree: the known vectors of RFC 6962, and a naive reading of its definitions."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.core.errors import Invalid
from noria.ledger import merkle

LEAVES = [
    bytes.fromhex(spelled)
    for spelled in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def grown(leaves):
    nodes = {}

    def get(level, index):
        return nodes[level, index]

    for size, leaf in enumerate(leaves):
        nodes.update(merkle.append(size, merkle.leaf_hash(leaf), get))
    return nodes, get


def numbered(size):
    return [str(number).encode() for number in range(size)]


def naive_split(size):
    width = 1
    while width * 2 < size:
        width *= 2
    return width


def naive_root(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = naive_split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index, leaves):
    if len(leaves) == 1:
        return []
    k = naive_split(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(old, leaves, *, whole=True):
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = naive_split(len(leaves))
    if old <= k:
        return [*naive_consistency(old, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_consistency(old - k, leaves[k:], whole=False), naive_root(leaves[:k])]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_known_ones(size):
    _, get = grown(LEAVES)

    assert merkle.root(size, get).hex() == ROOTS[size]


def test_the_known_inclusion_path_comes_out():
    _, get = grown(LEAVES)

    path = [digest.hex() for digest in merkle.inclusion_proof(5, 8, get)]

    assert path == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_the_known_consistency_path_comes_out():
    _, get = grown(LEAVES)

    path = [digest.hex() for digest in merkle.consistency_proof(6, 8, get)]

    assert path == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 130), st.data())
def test_proofs_are_the_naive_ones_and_hold(size, data):
    index = data.draw(st.integers(0, size - 1))
    leaves = numbered(size)
    _, get = grown(leaves)

    proof = merkle.inclusion_proof(index, size, get)

    assert proof == naive_path(index, leaves)
    leaf = merkle.leaf_hash(leaves[index])
    assert merkle.verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=naive_root(leaves))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 130), st.data())
def test_a_grown_tree_begins_with_each_tree_it_has_been(new, data):
    old = data.draw(st.integers(1, new))
    leaves = numbered(new)
    _, get = grown(leaves)
    was, now = naive_root(leaves[:old]), naive_root(leaves)

    proof = merkle.consistency_proof(old, new, get)

    assert proof == naive_consistency(old, leaves)
    assert merkle.verify_consistency(old=old, new=new, old_root=was, new_root=now, proof=proof)


def test_every_small_proof_holds_for_its_own_place_only():
    leaves = numbered(17)
    _, get = grown(leaves)
    for size in range(1, 18):
        root = merkle.root(size, get)
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, get)
            leaf = merkle.leaf_hash(leaves[index])

            places = [
                place
                for place in range(-1, size + 1)
                if merkle.verify_inclusion(leaf=leaf, index=place, size=size, proof=proof, root=root)
            ]

            assert places == [index]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 100), st.data())
def test_a_changed_leaf_path_or_root_is_refused(size, data):
    index = data.draw(st.integers(0, size - 1))
    leaves = numbered(size)
    _, get = grown(leaves)
    root, leaf = merkle.root(size, get), merkle.leaf_hash(leaves[index])
    proof = merkle.inclusion_proof(index, size, get)
    at = data.draw(st.integers(0, len(proof) - 1))
    forged = [*proof[:at], bytes(32), *proof[at + 1 :]]

    def holds(*, leaf=leaf, proof=proof, root=root):
        return merkle.verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=root)

    assert holds()
    assert not holds(leaf=merkle.leaf_hash(b"forged"))
    assert not holds(proof=forged)
    assert not holds(proof=proof[:-1])
    assert not holds(proof=[*proof, bytes(32)])
    assert not holds(root=bytes(32))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 100), st.data())
def test_rewritten_history_is_never_consistent(new, data):
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    leaves = numbered(new)
    rewritten = [*leaves[:changed], b"forged", *leaves[changed + 1 :]]
    _, get = grown(rewritten)
    was, now = naive_root(leaves[:old]), naive_root(rewritten)

    proof = merkle.consistency_proof(old, new, get)

    assert not merkle.verify_consistency(old=old, new=new, old_root=was, new_root=now, proof=proof)
    assert not merkle.verify_consistency(old=old, new=new, old_root=was, new_root=now, proof=proof[:-1])
    assert not merkle.verify_consistency(old=old, new=new, old_root=was, new_root=now, proof=[*proof, bytes(32)])


def test_every_tree_begins_with_the_empty_one():
    _, get = grown(LEAVES)
    root = merkle.root(8, get)

    assert merkle.consistency_proof(0, 8, get) == []
    assert merkle.verify_consistency(old=0, new=8, old_root=merkle.EMPTY_ROOT, new_root=root, proof=[])
    assert not merkle.verify_consistency(old=0, new=8, old_root=root, new_root=root, proof=[])


def test_a_tree_of_equal_size_is_the_same_tree_or_another():
    assert merkle.verify_consistency(old=3, new=3, old_root=b"a", new_root=b"a", proof=[])
    assert not merkle.verify_consistency(old=3, new=3, old_root=b"a", new_root=b"b", proof=[])
    assert not merkle.verify_consistency(old=4, new=3, old_root=b"a", new_root=b"a", proof=[])
    assert not merkle.verify_consistency(old=3, new=4, old_root=b"a", new_root=b"a", proof=[])


def test_appending_stores_two_nodes_a_leaf_at_most_and_never_changes_one():
    nodes = {}

    def get(level, index):
        return nodes[level, index]

    for size in range(1000):
        fresh = dict(merkle.append(size, merkle.leaf_hash(b"%d" % size), get))
        assert not fresh.keys() & nodes.keys()
        nodes.update(fresh)

    assert len(nodes) < 2000


def test_a_root_reads_no_more_nodes_than_its_size_has_bits():
    _, get = grown(numbered(1023))
    asked = []

    merkle.root(1023, lambda level, index: asked.append((level, index)) or get(level, index))

    assert len(asked) == 10


def test_a_leaf_or_a_size_that_is_not_there_is_invalid():
    _, get = grown(LEAVES)

    with pytest.raises(Invalid, match="a tree of 8 leaves has no leaf 8"):
        merkle.inclusion_proof(8, 8, get)
    with pytest.raises(Invalid, match="a tree of 8 leaves never had 9"):
        merkle.consistency_proof(9, 8, get)
