"""Plays worlds of strangers: `python tests/strangers/play.py --seed 1 --minutes 10`, or `--worlds 100`, or one: `--only 4711`.

Prints each broken law and, at the end, how many worlds were played and in which a law broke. Exits non-zero if any did.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parent))
from playing import Played, play
from worlds import World, of_seed


def main() -> int:
    parser = argparse.ArgumentParser(description="Play worlds of strangers through the whole circle.")
    parser.add_argument("--seed", type=int, default=1, help="the number of the first world")
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long to begin new worlds")
    parser.add_argument("--worlds", type=int, default=None, help="how many at most")
    parser.add_argument("--only", type=int, default=None, help="play this world alone, and print what it is")
    parser.add_argument("--at-once", type=int, default=2, help="how many lives are played at the same time")
    parser.add_argument("--out", type=Path, default=None, help="a file for what came of each world, JSON lines")
    given = parser.parse_args()
    if given.only is not None:
        print(of_seed(given.only))
        return _summed(play([of_seed(given.only)]), given.out)
    ends = time.monotonic() + given.minutes * 60
    return _summed(_side_by_side(islice(count(given.seed), given.worlds), ends=ends, width=given.at_once), given.out)


def _side_by_side(seeds: Iterator[int], *, ends: float, width: int) -> Iterator[Played]:
    """Yield worlds as they are played, in several threads that take the next number each."""
    lock, done = threading.Lock(), SimpleQueue[Played | None]()

    def worlds() -> Iterator[World]:
        while time.monotonic() < ends:
            with lock:
                seed = next(seeds, None)
            if seed is None:
                return
            yield of_seed(seed)

    def work() -> None:
        try:
            for played in play(worlds()):
                done.put(played)
        finally:
            done.put(None)

    for _ in range(width):
        threading.Thread(target=work, daemon=True).start()
    left = width
    while left:
        played = done.get()
        if played is None:
            left -= 1
        else:
            yield played


def _summed(worlds: Iterator[Played], out: Path | None) -> int:
    begun, played, champions, seconds = time.monotonic(), 0, 0, 0.0
    failed: list[int] = []
    for world in worlds:
        played += 1
        champions += world.has_champion
        seconds += world.cpu_seconds
        for words in world.broken:
            print(f"world {world.world.seed}: {words}", flush=True)
        if world.broken:
            failed.append(world.world.seed)
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps({"seed": world.world.seed, "broken": world.broken}) + "\n")
    print(
        f"{played} worlds in {time.monotonic() - begun:.0f} s ({seconds / max(1, played):.1f} s of CPU an undisturbed life), "
        f"{champions} with a champion, {len(failed)} with a broken law: {failed}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
