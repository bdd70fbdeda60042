"""Finds which fragments may hold given keys, at a cost that follows the keys and not the dataset.

Of each fragment whose range of keys was ever asked about, the hashes of its keys are kept in memory: 12 bytes a key.
A hash may be of another key, so whoever asks looks into the fragments that are found; one that holds a key is never
left out.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from noria.datasets.holding import spelled
from noria.datasets.model import Fragment

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]
Places = np.ndarray[tuple[int], np.dtype[np.int32]]


class KeyIndex:
    """The keys of fragments by their hashes; `keys` reads those of one. Safe to share between threads."""

    def __init__(self, keys: Callable[[Fragment], pl.Series]) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._indexed: dict[str, int] = {}
        self._runs: list[tuple[Hashes, Places]] = []

    def holding(self, parts: Sequence[Fragment], keys: pl.Series) -> list[Fragment]:
        """Return those of the fragments that may hold some of the keys, in their order."""
        wanted = np.unique(_hashes(keys))
        with self._lock:
            for part in parts:
                if part.id not in self._indexed:
                    self._add(part)
            runs, places = list(self._runs), {part.id: self._indexed[part.id] for part in parts}
        found = {place for run in runs for place in _matching(run, wanted)}
        return [part for part in parts if places[part.id] in found]

    def _add(self, part: Fragment) -> None:
        """Put a fragment's hashes in order behind the others; runs of like size become one, so there are few."""
        hashes = np.sort(_hashes(self._keys(part)))
        place = self._indexed[part.id] = len(self._indexed)
        run = (hashes, np.full(len(hashes), place, np.int32))
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)


def _hashes(keys: pl.Series) -> Hashes:
    return spelled(keys).hash().to_numpy()


def _merged(first: tuple[Hashes, Places], second: tuple[Hashes, Places]) -> tuple[Hashes, Places]:
    hashes = np.concatenate([first[0], second[0]])
    order = np.argsort(hashes, kind="stable")  # two runs in order: a merge
    return hashes[order], np.concatenate([first[1], second[1]])[order]


def _matching(run: tuple[Hashes, Places], wanted: Hashes) -> set[int]:
    """Return the places of the fragments that have one of the hashes."""
    hashes, places = run
    begins, ends = (np.searchsorted(hashes, wanted, side) for side in ("left", "right"))
    return {int(place) for begin, end in zip(begins, ends, strict=True) for place in places[begin:end]}
