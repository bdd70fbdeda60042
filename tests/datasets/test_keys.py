"""Laws of the key index: no fragment that holds a key is left out, and few others are found."""

import random
from dataclasses import dataclass

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.datasets.keys import KeyIndex


@dataclass(frozen=True)
class Part:
    """A fragment as far as the index looks at it."""

    id: str
    keys: tuple


def index(read):
    def keys(part):
        read.append(part.id)
        return pl.Series(part.keys)

    return KeyIndex(keys)


keys_of = st.lists(st.sets(st.integers(0, 60), min_size=1), max_size=12)


@pytest.mark.parametrize("spell", [int, str], ids=["numbers", "texts"])
@settings(max_examples=40)
@given(parts=keys_of, wanted=st.sets(st.integers(0, 60), min_size=1))
def test_exactly_the_fragments_that_hold_a_key_are_found(spell, parts, wanted):
    made = [Part(f"f{number}", tuple(map(spell, keys))) for number, keys in enumerate(parts)]
    looked = index([])

    for through in range(len(made) + 1):
        found = looked.holding(made[:through], pl.Series(list(map(spell, wanted))))
        assert found == [part for part in made[:through] if {*map(int, part.keys)} & wanted]


def test_a_fragment_is_read_once_and_only_when_it_is_asked_about():
    read = []
    made = [Part(f"f{number}", (f"a{number}", f"b{number}")) for number in range(20)]
    looked = index(read)

    looked.holding(made[:5], pl.Series(["a3"]))
    looked.holding(made[:8], pl.Series(["a7"]))

    assert read == [f"f{number}" for number in range(8)]


def test_many_fragments_are_kept_as_few_runs_in_order():
    looked = index([])
    chance = random.Random(3)
    made = [Part(f"f{n}", tuple(f"k{chance.random()}" for _ in range(chance.randint(1, 40)))) for n in range(300)]

    looked.holding(made, pl.Series(["none"]))

    assert len(looked._runs) <= 12
    assert all((hashes[1:] >= hashes[:-1]).all() for hashes, _ in looked._runs)
