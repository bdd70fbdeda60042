"""Plays a world through the whole circle on the simulated clock, in a process that may be killed, and notes broken laws.

A life is a list of deeds, each done under a key of its own. A journal on disk says which are done, so that the next
process goes on where a killed one stopped. What breaks a law is noted in words and ends nothing.
"""

import asyncio
import importlib
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import knowledge
import numpy as np
import polars as pl
from clients import Request, spelled
from knowledge import Knowledge
from recipes import program
from streams import Row, Stream
from worlds import BEGIN, DAY, World

import noria as nr
from noria.boot import Platform, open_home
from noria.core.clock import MachineStopwatch, SimulatedClock
from noria.server.gateway.app import Gateway
from noria.server.gateway.table import Table
from noria.settings import Settings

_TOLERANCE = 2e-4
_ANSWER_SECONDS = 10.0
_GATEWAY = "http://127.0.0.1:7879"


@dataclass(frozen=True)
class Deed:
    """Something that somebody does at a moment; `name` is unique in a life."""

    name: str
    at: datetime
    do: Callable[[], Any]


@dataclass
class Life:
    """One process's part of a life."""

    world: World
    folder: Path
    dies_at: int | None = None
    """At which commit of this process it is killed; None for never."""
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = Stream(self.world)
        self.journal = self.folder / "journal"
        self.done: dict[str, Any] = {}
        self.known = Knowledge(self.world)
        self.chance = random.Random(f"{self.world.seed}/life")

    # --- the life

    def live(self) -> dict[str, Any]:
        """Go on from what the journal says until the end, and return what was decided and which laws broke."""
        self._remember()
        module = self._team()
        self.data, self.loop = module.DATA, module.LOOP
        deeds = list(self._deeds())
        first = next((deed.at for deed in deeds if deed.name not in self.done), BEGIN)
        settings = Settings(home=str(self.folder / "home"), actor="ann")
        with open_home(clock=SimulatedClock(first), settings=settings) as self.home:
            self._arm()
            with self._door():
                for deed in deeds:
                    if deed.name in self.done:
                        continue
                    self.home.clock.advance_to(max(deed.at, self.home.clock.now()))
                    self._note(deed.name, self._guarded(deed))
            return self._report()

    def pushes_alone(self) -> list[str]:
        """Push rows and labels day by day and read them at some times, without a loop; return which laws broke."""
        self.data = nr.Dataset(
            f"data-{self.world.seed}", key=self.world.key, time=self.world.time, label=self.world.label
        )
        settings = Settings(home=str(self.folder / "home"), actor="ann")
        with open_home(clock=SimulatedClock(BEGIN), settings=settings) as self.home:
            for deed in self._deeds():
                if deed.name.partition("/")[2].partition("/")[0] in ("push", "labels", "again", "read"):
                    self.home.clock.advance_to(max(deed.at, self.home.clock.now()))
                    self._note(deed.name, self._guarded(deed))
            self._compare(None)
        return [*self._noted(), *self.broken]

    def _deeds(self) -> Iterator[Deed]:
        yield Deed("start", BEGIN, lambda: self.home.start(self.loop))
        for day in range(self.world.days):
            evening = BEGIN + (day + 1) * DAY
            for number, batch in enumerate(self.stream.batches(day)):
                yield Deed(f"{day}/push/{number}", evening, lambda b=batch, k=f"{day}/{number}": self._push(b, k))
            yield Deed(f"{day}/labels", evening, lambda d=day: self._labels(d))
            if day % 5 == 3:
                yield Deed(f"{day}/again", evening, lambda d=day: self._push_again(d))
            yield Deed(f"{day}/turn", evening, self._turn)
            yield Deed(f"{day}/ask", evening + timedelta(minutes=1), lambda d=day: self._ask(d))
            yield Deed(f"{day}/tell", evening + timedelta(minutes=2), lambda d=day: self._tell(d))
            yield Deed(f"{day}/read", evening + timedelta(minutes=3), lambda d=day: self._read(d))
        end = BEGIN + (self.world.days + 1) * DAY
        yield Deed("last turn", end, self._turn)
        yield Deed("last look", end + DAY, self._last_look)

    # --- what people do

    def _push(self, batch: Any, key: str) -> dict[str, Any]:
        self.home.push(self.data, self._as_form(batch.rows, key), source=batch.source, key=f"push/{key}")
        return {"pushed": [list(place) for place in self._places(batch.rows)]}

    def _labels(self, day: int) -> dict[str, Any]:
        told = self.stream.labels(day)
        if not told:
            return {}
        # of two labels of a row the wrong one lands first: one table has each key once
        for part in range(2):
            seen: set[Any] = set()
            mine = []
            for one in told if part == 0 else reversed(told):
                if one.key not in seen:
                    seen.add(one.key)
                    mine.append(one)
            if part == 1 and len(seen) == len(told):
                break
            self._land(mine, f"labels/{day}/{part}")
        return {"labelled": day}

    def _land(self, told: list[Any], key: str) -> None:
        columns = {self.world.key: [one.key for one in told], self.world.label: [one.value for one in told]}
        frame = pl.DataFrame(columns | {"known_at": [one.known_at for one in told]})
        self.home.land_labels(self.data, frame, source="labels", key=key)

    def _push_again(self, day: int) -> dict[str, Any]:
        """Send rows that are there already, as a retry without a key does: refused, and nothing changes."""
        before = self.home.datasets.latest(self.home.context, self.data.name)
        rows = self.stream.batches(day)[0].rows[:3]
        try:
            self.home.push(self.data, self._as_form(rows, f"{day}/again"), source="retry")
        except nr.NoriaError as refused:
            self._must(bool(refused.hint), "a refusal has a hint", str(refused))
        else:
            self._must(False, "a key is held once", f"rows of day {day} were taken twice")
        self._must(before == self.home.datasets.latest(self.home.context, self.data.name), "a refusal changes nothing")
        return {}

    def _turn(self) -> dict[str, Any]:
        with self.home.worker(self.loop) as worker:
            for _ in range(20):
                if not worker.run_until_quiet():
                    break
        return {}

    def _ask(self, day: int) -> dict[str, Any]:
        """Ask about rows of the day over HTTP, and hold every answer against the registered model."""
        self.table.look()
        if not any(route.versions for route in self.table.routes()):
            return {}
        chance = random.Random(f"{self.world.seed}/{day}/ask")
        answered = []
        for number, row in enumerate(self.stream.asked(day)):
            request = spelled(self.world, row, chance=chance)
            answer = self._send(f"/endpoints/{self.data.name}/predict", request.body)
            if answer.status_code == 200:
                self._hold(request, answer.json())
                answered.append([day, number, answer.json()["prediction"], request.spelling, request.row])
            else:
                self._refused(request, answer)
        return {"answered": answered}

    def _tell(self, day: int) -> dict[str, Any]:
        """Send feedback on what was asked, once its label is known, by the prediction's id or by the row's key."""
        told = []
        for asked_on in range(day + 1):
            rows = self.stream.asked(asked_on) if self.done.get(f"{asked_on}/ask", {}).get("answered") else []
            for _, number, prediction, spelling, sent in self.done.get(f"{asked_on}/ask", {}).get("answered", []):
                row = rows[number]
                if not self._is_known_on(row, day) or spelling in ("nul_key", "no_time"):
                    continue
                label = self.stream.label_of(row)
                by_key = {"endpoint": self.data.name, "key": sent.get(self.world.key), "label": label}
                body = by_key if number % 3 == 0 else {"prediction": prediction, "label": label}
                answer = self._send("/feedback", json.dumps(body).encode())
                if answer.status_code == 200:
                    told.append([asked_on, number])
                else:
                    self._must(False, "fair feedback is taken", f"{body}: {answer.text}")
        return {"told": told}

    def _is_known_on(self, row: Row, day: int) -> bool:
        known_on = (row[self.world.time] + self.stream.delay_of(row) - BEGIN) // DAY
        return known_on == day

    # --- laws

    def _hold(self, request: Request, answer: dict[str, Any]) -> None:
        """A live answer is what the registered model gives for that row, and a row was exactly what the data can hold."""
        frame = self._exactly(request)
        if frame is None:
            self._must(False, "what cannot be held is refused", f"{request.spelling}: {request.row}")
            return
        version = self.home.registry.version(self.home.context, self.loop.model, answer["version"])
        try:
            right = float(self.home.loader.load(version.artifact).predict(frame)[0])
        except Exception as problem:  # the model cannot say: nobody should have
            self._must(False, "what the model cannot score is refused", f"{request.spelling}: {problem!r}")
            return
        given = answer["score"]
        close = (given is None and np.isnan(right)) or (
            given is not None and abs(given - right) <= _TOLERANCE * max(1.0, abs(right))
        )
        self._must(
            close, "a live answer is the model's", f"{request.spelling}: {given} is not {right} for {request.row}"
        )

    def _refused(self, request: Request, answer: httpx.Response) -> None:
        """A refusal is a problem of ours with a hint; a fair request is refused only where the model cannot score it."""
        problem = answer.json()
        where = f"{request.spelling}: {answer.status_code} {answer.text[:300]}"
        self._must(bool(problem.get("code") and problem.get("hint")), "a refusal has a hint", where)
        if problem.get("code") == "model-failed":
            self._must(self._cannot_score(request), "what the model can score is answered", where)
        else:
            self._must(answer.status_code < 500, "a refusal is no failure", where)
            self._must(not request.is_fair, "a fair request is answered", where)

    def _cannot_score(self, request: Request) -> bool:
        frame = self._exactly(request)
        if frame is None:
            return True
        for variant in self.table.routes()[0].versions:
            version = self.home.registry.version(self.home.context, self.loop.model, variant)
            try:
                self.home.loader.load(version.artifact).predict(frame)
            except Exception:
                return True
        return False

    def _exactly(self, request: Request) -> pl.DataFrame | None:
        """Return the row as the dataset holds it, None where it cannot without changing a value."""
        kinds = self.home.read(self.data.name, since=BEGIN, until=BEGIN).schema
        columns = []
        for name, kind in kinds.items():
            value = (request.row or {}).get(name)
            if name in (self.world.label, "known_at"):
                continue
            cell = _cell(name, value, kind)
            if cell is None:
                return None
            columns.append(cell)
        return pl.DataFrame(columns)

    def _read(self, day: int) -> dict[str, Any]:
        """What was acknowledged is what is read, at any time of which one asks."""
        if day % 4 != 2:
            return {}
        now = self.home.clock.now()
        chance = random.Random(f"{self.world.seed}/{day}/read")
        for moment in (None, now - DAY * chance.random() * (day + 1)):
            self._compare(moment)
        return {}

    def _compare(self, moment: datetime | None) -> None:
        if self.home.datasets.latest(self.home.context, self.data.name) is None:
            self._must(not self.known.rows, "what was pushed is what is read", "there is no dataset")
            return
        found = self.home.read(self.data.name, as_of=moment).to_dicts()
        found = [row for row in found if not self._is_asked(row[self.world.key])]
        for words in self.known.differences(found, moment):
            self._must(False, "what was pushed is what is read", f"as of {moment}: {words}")

    def _last_look(self) -> dict[str, Any]:
        """Each acknowledged record has landed once, cycles are settled or say what they wait for, the audit holds."""
        self._compare(None)
        self._landed_once()
        cycles = self.home.loops.cycles(self.home.context, self.loop.name)
        numbers = [cycle.number for cycle in cycles]
        self._must(numbers == list(range(1, len(cycles) + 1)), "cycles have numbers in a row", str(numbers))
        for cycle in cycles:
            waits = cycle.state.value in ("gating", "reviewing", "rolling_out")
            self._must(not cycle.is_open or waits, "a cycle ends or says what it waits for", f"{cycle}")
        audit = self.home.ledger.audit()
        self._must(audit.holds, "the audit holds", str(audit))
        return {}

    def _landed_once(self) -> None:
        answered = [one for deed in self.done.values() for one in (deed or {}).get("answered", [])]
        if not answered:
            return
        self.home.landings.land(self.home.context, self.home.endpoints.get(self.home.context, self.data.name))
        endpoint = self.home.endpoints.get(self.home.context, self.data.name)
        aside = {one.prediction for one in self.home.landings.asides(self.home.context, endpoint)}
        landed: dict[Any, list[dict[str, Any]]] = {}
        for row in self.home.read(self.data.name).to_dicts():
            landed.setdefault(row[self.world.key], []).append(row)
        told = {tuple(one) for deed in self.done.values() for one in (deed or {}).get("told", [])}
        for day, number, prediction, spelling, sent in answered:
            rows = landed.get(sent.get(self.world.key), [])
            where = f"{spelling}: {sent}"
            if prediction in aside and spelling not in ("exact", "no_nulls"):
                continue
            self._must(len(rows) == 1, "each acknowledged record lands once", f"{len(rows)} rows of {where}")
            if len(rows) == 1:
                self._landed_equal(rows[0], sent, where)
                label = self.stream.label_of(self.stream.asked(day)[number]) if (day, number) in told else None
                self._must(
                    knowledge.same(rows[0][self.world.label], label), "feedback lands on its row", f"{label!r}: {where}"
                )

    def _landed_equal(self, row: dict[str, Any], sent: dict[str, Any], where: str) -> None:
        for column in self.world.columns:
            wanted = sent.get(column.name)
            self._must(
                knowledge.same(row[column.name], wanted),
                "what was scored is what lands",
                f"{column.name!r} is {row[column.name]!r}, not {wanted!r}: {where}",
            )

    # --- inside

    def _must(self, holds: bool, law: str, words: str = "") -> None:
        if not holds:
            self.broken.append(f"{law}: {words}")

    def _guarded(self, deed: Deed) -> Any:
        """Do a deed; an error of ours may be a refusal with a hint, any other breaks the law of clear errors."""
        try:
            return deed.do()
        except nr.NoriaError as problem:
            self._must(bool(problem.hint), "a refusal has a hint", f"{deed.name}: {problem}")
            self.broken.append(f"a fair deed is done: {deed.name}: {type(problem).__name__}: {problem}")
        except Exception:
            self.broken.append(f"every refusal is an error of ours: {deed.name}: {traceback.format_exc()[-1500:]}")
        return {}

    def _send(self, path: str, body: bytes) -> httpx.Response:
        async def work() -> httpx.Response:
            transport = httpx.ASGITransport(self.gateway, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=_GATEWAY) as client:
                return await client.post(path, content=body, headers={"content-type": "application/json"})

        try:
            return asyncio.run(asyncio.wait_for(work(), _ANSWER_SECONDS))
        except TimeoutError:
            self._must(False, "every request is answered", body[:300].decode(errors="replace"))
            return httpx.Response(504, json={"code": "time-out", "hint": "none"})

    @contextmanager
    def _door(self) -> Iterator[None]:
        self.table = Table(self.home, stopwatch=MachineStopwatch())
        self.gateway = Gateway(self.home, self.table, stopwatch=MachineStopwatch())
        try:
            yield
        finally:
            self.table.close()

    def _team(self) -> Any:
        """Import the team's module, written once."""
        name = f"team_{self.world.seed}"
        file = self.folder / f"{name}.py"
        if not file.exists():
            file.write_text(program(self.world))
        sys.path.insert(0, str(self.folder))
        return importlib.import_module(name)

    def _places(self, rows: tuple[Row, ...]) -> Iterator[tuple[int, int]]:
        where = {row[self.world.key]: (d, n) for d, day in enumerate(self.stream.rows) for n, row in enumerate(day)}
        return (where[row[self.world.key]] for row in rows)

    def _is_asked(self, key: Any) -> bool:
        return key not in self.known.rows

    def _as_form(self, rows: tuple[Row, ...], name: str) -> Any:
        """Return rows in the form in which the team holds them."""
        plain = [{name: value for name, value in row.items() if not name.startswith("\0")} for row in rows]
        form = self.world.form
        if form == "pandas":
            import pandas as pd

            large = {column.name: "Int64" for column in self.world.columns if column.kind == "big_id"}
            return pd.DataFrame(
                {name: pd.array([row[name] for row in plain], dtype=large.get(name)) for name in plain[0]}
            )
        if form == "arrow":
            import pyarrow as pa

            return pa.Table.from_pylist(plain)
        frame = pl.DataFrame(plain, infer_schema_length=None)
        if form == "parquet":
            path = self.folder / f"{name.replace('/', '-')}.parquet"
            frame.write_parquet(path)
            return path
        return frame

    def _arm(self) -> None:
        """Arrange for kill -9 around a commit, half of the times just before it."""
        if self.dies_at is None:
            return
        written, count = self.home.database.write, 0

        def write(work: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == self.dies_at and count % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = written(work, **options)
            if count == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        self.home.database.write = write  # type: ignore[method-assign]

    def _note(self, name: str, result: Any) -> None:
        """Write down that a deed is done, with what came of it and the laws that broke so far."""
        self.done[name] = result
        self._learn(result)
        with self.journal.open("a") as file:
            file.write(json.dumps({"deed": name, "result": result, "broken": self.broken}) + "\n")
            file.flush()
        self.broken = []

    def _remember(self) -> None:
        if self.journal.exists():
            for line in self.journal.read_text().splitlines():
                noted = json.loads(line)
                self.done[noted["deed"]] = noted["result"]
                self._learn(noted["result"])

    def _learn(self, result: Any) -> None:
        """Know what was acknowledged."""
        for day, number in (result or {}).get("pushed", []):
            self.known.pushed([self.stream.rows[day][number]])
        if "labelled" in (result or {}):
            for one in self.stream.labels(result["labelled"]):
                self.known.labelled(one.key, one.value, one.known_at)

    def _report(self) -> dict[str, Any]:
        return {"broken": self._noted(), "decided": _decided(self.home, self.loop)}

    def _noted(self) -> list[str]:
        """Return the broken laws that the journal has."""
        return [words for line in self.journal.read_text().splitlines() for words in json.loads(line)["broken"]]


def _cell(name: str, value: Any, kind: pl.DataType) -> pl.Series | None:
    """Return one value as a column of the dataset's kind; None if it would be another value."""
    if value is None:
        return pl.Series(name, [None], kind)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind.is_numeric():
        return _number(name, value, kind) if is_number else None
    if isinstance(kind, pl.Datetime):
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return pl.Series(name, [moment], kind) if moment is not None and moment.tzinfo is not None else None
    fits = {pl.Boolean(): isinstance(value, bool), pl.String(): isinstance(value, str) and "\0" not in str(value)}
    return pl.Series(name, [value]) if fits.get(kind, True) else None


def _number(name: str, value: float, kind: pl.DataType) -> pl.Series | None:
    """Return a number as a column; a fraction makes a column of whole numbers one of fractions."""
    whole = isinstance(value, int) or value.is_integer()
    if kind.is_integer() and whole:
        return pl.Series(name, [int(value)], kind) if abs(value) < 2**63 else None
    exact = isinstance(value, float) or abs(value) <= 2**53
    return pl.Series(name, [float(value)], pl.Float64) if exact and np.isfinite(float(value)) else None


def _decided(home: Platform, loop: nr.Loop) -> dict[str, Any]:
    """Return everything that was decided, without what may differ between two lives: ids, and how long it took."""
    told = (
        "number",
        "opened_at",
        "settled_at",
        "state",
        "outcome",
        "reasons",
        "words",
        "promoted",
        "looks",
        "evidence",
    )
    context = home.context
    known = loop.model in home.registry.models(context)
    return json.loads(
        json.dumps(
            {
                "cycles": [
                    {name: getattr(cycle, name) for name in told} for cycle in home.loops.cycles(context, loop.name)
                ],
                "moves": [
                    [move.before, move.to, move.at, move.reason] for move in home.registry.moves(context, loop.model)
                ],
                "versions": [
                    [version.number, version.trained_through, version.artifact.digest]
                    for version in (home.registry.versions(context, loop.model) if known else ())
                ],
                "rows": sum(snapshot.rows for snapshot in home.datasets.snapshots(context, loop.dataset.name)),
            },
            default=str,
        )
    )
