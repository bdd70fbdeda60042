"""Tells in words why a model version exists: what triggered it, which data, by which evidence, and who decided."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from noria.core.context import Context
from noria.evaluation.model import Comparison, Evidence
from noria.loop import queries
from noria.loop.model import Cycle
from noria.loop.turn import Rooms
from noria.registry.model import ModelVersion, Move
from noria.rollouts.model import Rollout
from noria.rollouts.spec import Canary
from noria.store.database import Connection

Line = tuple[str, str]


def why(rooms: Rooms, context: Context, model: str, number: int) -> list[Line]:
    """Return the story of a version as lines, each with its heading; raises `NotFound`."""
    version = rooms.registry.version(context, model, number)
    lines: list[Line] = [("version", f"{version}, registered {_moment(version.created_at)} by {version.created_by}")]
    if version.parent is not None:
        lines.append(("refit", f"the accepted recipe of {model}@{version.parent}, trained once more"))
    cycle = _cycle(rooms, context, version)
    if cycle is None:
        lines.append(("trigger", "none: it was registered by hand"))
    else:
        lines += [("trigger", reason.words) for reason in cycle.reasons]
        lines.append(("cycle", f"{cycle.number} of loop {cycle.loop}, opened {_moment(cycle.opened_at)}"))
    lines += _data(rooms, context, version)
    lines += _served(rooms, context, version)
    lines.append(("run", f"{version.run}, code {version.code[:12]}, environment {version.environment[:12]}"))
    if cycle is not None:
        lines += _guarded(cycle)
        lines += _judgement(cycle)
        lines += _stumbles(rooms, context, cycle)
    lines += [_rollout(one) for one in rooms.rollouts.all(context, model) if one.candidate == number]
    return lines + [
        _move(model, move) for move in rooms.registry.moves(context, model) if number in (move.to, move.before)
    ]


def _cycle(rooms: Rooms, context: Context, version: ModelVersion) -> Cycle | None:
    def query(connection: Connection) -> Cycle | None:
        for row in queries.all_loops(connection, context.project):
            if row.spec["model"] == version.model:
                for number in (version.number, version.parent):
                    found = number and queries.cycle_of_version(connection, context.project, row.name, number)
                    if found:
                        return found
        return None

    return rooms.database.read(query)


def _data(rooms: Rooms, context: Context, version: ModelVersion) -> list[Line]:
    snapshot = rooms.datasets.snapshot(context, version.snapshot)
    through = f"rows and labels known through {_moment(version.trained_through)}"
    return [("data", f"{snapshot} ({snapshot.digest[:12]}, newest from {snapshot.source}), {through}")]


def _served(rooms: Rooms, context: Context, version: ModelVersion) -> list[Line]:
    """Return what it is served as, and how it was loaded last."""
    servable = rooms.endpoints.servable(context, version.model, version.number)
    loading = rooms.endpoints.loading(context, version.model, version.number)
    lines: list[Line] = []
    if servable is not None:
        lines.append(("served", servable.words))
        if servable.golden is None and "no golden rows" not in servable.words:
            lines.append(("golden", "no golden rows: it was registered without any, so its scores are believed"))
    if loading is not None:
        how = "it could not be loaded" if loading.kind is None else f"loaded as {loading.kind.value}"
        lines.append(("loaded", f"{_moment(loading.at)}, {how}: {loading.words}"))
    return lines


def _guarded(cycle: Cycle) -> list[Line]:
    if cycle.guarded is None:
        return []
    findings: Sequence[Mapping[str, Any]] = cycle.guarded["findings"]
    counts = f"{cycle.guarded['action']}, {cycle.guarded['rows']:,} new rows judged, {cycle.guarded['held']:,} held"
    return [("guards", counts), *((str(found["guard"]), f"{found['action']}: {found['words']}") for found in findings)]


def _judgement(cycle: Cycle) -> list[Line]:
    lines: list[Line] = []
    if cycle.evidence:
        evidence = Evidence.from_plain(cycle.evidence)
        if evidence.rows and evidence.comparisons:
            lines.append(
                ("judged on", f"{evidence.rows:,} rows from {_moment(evidence.since)} to {_moment(evidence.until)}")
            )
        lines += [("evidence", comparison.words()) for comparison in evidence.comparisons]
        if evidence.flips is not None:
            lines.append(
                ("flips", f"{evidence.flips.negative:,} rows got worse, {evidence.flips.positive:,} got better")
            )
        lines += _worst_slice(evidence)
    if cycle.verdict:
        lines.append(("verdict", f"{cycle.verdict['outcome']}: {'; '.join(cycle.verdict['reasons'])}"))
        if "review" in cycle.verdict:
            lines.append(("review", str(cycle.verdict["review"])))
    if cycle.charged_cpu_seconds:
        lines.append(("cost", f"{cycle.charged_cpu_seconds:.1f} CPU seconds of training"))
    if cycle.outcome is not None:
        lines.append(("outcome", f"{cycle.outcome.value}: {cycle.words}"))
    return lines


def _stumbles(rooms: Rooms, context: Context, cycle: Cycle) -> list[Line]:
    found = rooms.database.read(lambda connection: queries.all_stumbles(connection, context.project, cycle.loop))
    hint = f"noria doctor --trace shows where; noria loop retry {cycle.loop}"
    return [("stumbled", f"{each.words()} ({hint})") for each in found if each.cycle == cycle.id]


def _worst_slice(evidence: Evidence) -> Sequence[Line]:
    read: list[tuple[str, Comparison]] = [
        (f"{part.column} = {part.value}", part.comparison) for part in evidence.slices if part.comparison is not None
    ]
    if not read:
        return []
    name, worst = min(read, key=lambda pair: pair[1].gain)
    return [("slices", f"{len(read)} judged, the worst is {name}: {worst.words()}")]


def _move(model: str, move: Move) -> Line:
    before = "none" if move.before is None else f"{model}@{move.before}"
    what = "rolled back" if move.is_rollback else "promoted"
    return what, f"{_moment(move.at)} by {move.actor}, from {before} to {model}@{move.to}: {move.reason}"


def _rollout(rollout: Rollout) -> Line:
    stage = Canary.from_plain(rollout.spec).plan()[rollout.stage]
    exposed = f"{rollout.looks} looks, at {stage}, {rollout.exposed:,} live answers"
    return "rollout", f"{rollout.state.value} after {exposed}: {rollout.words}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
