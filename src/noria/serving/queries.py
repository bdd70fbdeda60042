"""All SQL of serving."""

import contextlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Stale
from noria.registry.tables import model_versions
from noria.serving.model import (
    Aside,
    AsideKind,
    Endpoint,
    Landing,
    Loading,
    Rescoring,
    Route,
    Servable,
    ServableKind,
    Variant,
)
from noria.serving.tables import asides, endpoints, landings, loadings, rescorings, routes, servables
from noria.store.retirements import Kind, is_shown


def insert_endpoint(connection: Connection, project: str, endpoint: Endpoint, first: Route) -> None:
    """Store an endpoint with its first route; raises `Stale` if somebody else did just now."""
    values = {"project": project, "name": endpoint.name, "model": endpoint.model, "dataset": endpoint.dataset}
    values |= {"secret": endpoint.secret}
    made = {"epoch": first.epoch, "created_at": first.at, "created_by": first.by}
    try:
        with connection.begin_nested():
            connection.execute(insert(endpoints), values | made)
            connection.execute(insert(routes), _plain(project, first))
    except IntegrityError as problem:
        raise Stale(f"endpoint {endpoint.name!r} was made by somebody else just now", hint="try again") from problem


def endpoint(connection: Connection, project: str, name: str) -> Endpoint | None:
    """Return an endpoint, if it is there."""
    here = (endpoints.c.project == project) & (endpoints.c.name == name)
    row = connection.execute(select(endpoints).where(here)).one_or_none()
    return None if row is None else _endpoint(row)


def all_endpoints(connection: Connection, project: str) -> list[Endpoint]:
    """Return the project's endpoints, by name."""
    rows = connection.execute(select(endpoints).where(endpoints.c.project == project).order_by(endpoints.c.name))
    return [_endpoint(row) for row in rows]


def epochs(connection: Connection, project: str) -> dict[str, int | None]:
    """Return the epoch of each endpoint's route, None if it is retired: what has changed is seen at a glance."""
    shown = is_shown(endpoints, "name", Kind.ENDPOINT).label("shown")
    query = select(endpoints.c.name, endpoints.c.epoch, shown).where(endpoints.c.project == project)
    return {row.name: row.epoch if row.shown else None for row in connection.execute(query)}


def route(connection: Connection, project: str, name: str, *, lock: bool = False) -> Route | None:
    """Return an endpoint's route; with `lock`, nobody else changes it until the transaction ends."""
    here = (endpoints.c.project == project) & (endpoints.c.name == name)
    query = select(endpoints.c.model, endpoints.c.epoch).where(here)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        return None
    now = _routes(project, name).where(routes.c.epoch == row.epoch)
    return _route(connection.execute(now).one(), model=row.model)


def change_route(connection: Connection, project: str, changed: Route) -> None:
    """Store the next route, if the endpoint's epoch is still the one before; raises `Stale` if it is not."""
    here = (endpoints.c.project == project) & (endpoints.c.name == changed.endpoint)
    same = update(endpoints).where(here, endpoints.c.epoch == changed.epoch - 1).values(epoch=changed.epoch)
    if connection.execute(same).rowcount != 1:
        raise Stale(
            f"the route of endpoint {changed.endpoint!r} was changed by somebody else just now",
            hint="look at it again, and decide anew",
        )
    connection.execute(insert(routes), _plain(project, changed))


def all_routes(connection: Connection, project: str, name: str, *, model: str) -> list[Route]:
    """Return every route that an endpoint had, oldest first."""
    rows = connection.execute(_routes(project, name).order_by(routes.c.epoch))
    return [_route(row, model=model) for row in rows]


def landing(connection: Connection, project: str, endpoint: str) -> Landing:
    """Return how far an endpoint's log has landed; nowhere, before the first landing."""
    here = (landings.c.project == project) & (landings.c.endpoint == endpoint)
    row = connection.execute(select(landings).where(here)).one_or_none()
    if row is None:
        return Landing(endpoint=endpoint, number=0, positions={}, plan=None, waiting=())
    return Landing(
        endpoint=endpoint,
        number=row.number,
        positions=row.positions,
        plan=row.plan,
        waiting=tuple(row.waiting),
    )


def put_landing(connection: Connection, project: str, before: Landing, after: Landing) -> None:
    """Store how far a log has landed, if nobody else has landed meanwhile; raises `Stale` if somebody has."""
    values = {"number": after.number, "positions": dict(after.positions)}
    values |= {"plan": None if after.plan is None else dict(after.plan), "waiting": list(after.waiting)}
    here = (landings.c.project == project) & (landings.c.endpoint == after.endpoint)
    is_same = (landings.c.number == before.number) & (landings.c.plan.is_(None) == (before.plan is None))
    if connection.execute(update(landings).where(here, is_same).values(values)).rowcount == 1:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(landings), {"project": project, "endpoint": after.endpoint} | values)
    except IntegrityError as problem:
        raise Stale(f"the log of endpoint {after.endpoint!r} was landed by somebody else just now") from problem


def insert_asides(connection: Connection, project: str, landing: Landing, asides_: Sequence[Aside]) -> None:
    """Store what a landing has put aside."""
    told = [
        {"project": project, "endpoint": landing.endpoint, "number": landing.number, "place": place}
        | {"kind": aside.kind.value, "key": aside.key, "prediction": aside.prediction}
        | {"record": aside.record, "reason": aside.reason, "at": aside.at}
        for place, aside in enumerate(asides_)
    ]
    if told:
        connection.execute(insert(asides), told)


def all_asides(connection: Connection, project: str, endpoint: str) -> list[Aside]:
    """Return what was put aside of an endpoint's log, in order."""
    here = (asides.c.project == project) & (asides.c.endpoint == endpoint)
    rows = connection.execute(select(asides).where(here).order_by(asides.c.number, asides.c.place)).mappings()
    return [_aside(row) for row in rows]


def erase_asides(
    connection: Connection, project: str, endpoint: str, keys: Sequence[str], *, predictions: Sequence[str]
) -> None:
    """Take away what was put aside of some keys, or about some predictions."""
    here = (asides.c.project == project) & (asides.c.endpoint == endpoint)
    is_theirs = asides.c.key.in_(keys) | asides.c.prediction.in_(predictions)
    connection.execute(delete(asides).where(here, is_theirs))


def put_servable(connection: Connection, project: str, servable: Servable) -> None:
    """Store what a version is served as, once."""
    if find_servable(connection, project, servable.model, servable.version) is not None:
        return
    values = {"project": project, "model": servable.model, "version": servable.version, "kind": servable.kind.value}
    values |= {"inputs": [list(column) for column in servable.inputs.items()], "words": servable.words}
    values |= {"blob": servable.blob, "golden": servable.golden}
    with contextlib.suppress(IntegrityError), connection.begin_nested():  # somebody else may be storing the same
        connection.execute(insert(servables), values)


def find_servable(connection: Connection, project: str, model: str, version: int) -> Servable | None:
    """Return what a version is served as, if that was recorded."""
    here = (servables.c.project == project) & (servables.c.model == model) & (servables.c.version == version)
    row = connection.execute(select(servables).where(here)).one_or_none()
    if row is None:
        return None
    return Servable(
        model=row.model,
        version=row.version,
        kind=ServableKind(row.kind),
        inputs=dict(row.inputs),  # pairs, for JSON does not keep the order of names; an earlier Noria wrote a mapping
        words=row.words,
        blob=row.blob,
        golden=row.golden,
        is_ordered=isinstance(row.inputs, list),
    )


def golden_of(connection: Connection, artifact: str) -> list[tuple[str, str]]:
    """Return the versions that were made of an artifact's bytes and have golden rows, each with their digest."""
    same = (model_versions.c.project == servables.c.project) & (model_versions.c.model == servables.c.model)
    joined = select(servables).join(model_versions, same & (model_versions.c.number == servables.c.version))
    rows = connection.execute(joined.where(model_versions.c.blob == artifact, servables.c.golden.is_not(None)))
    return [(f"{row.model}@{row.version}", row.golden) for row in rows]


def all_golden(connection: Connection, project: str, model: str) -> list[tuple[int, str]]:
    """Return the versions of a model that have golden rows, each with their digest."""
    here = (servables.c.project == project) & (servables.c.model == model) & servables.c.golden.is_not(None)
    rows = connection.execute(select(servables.c.version, servables.c.golden).where(here))
    return [(row.version, row.golden) for row in rows]


def set_golden(connection: Connection, project: str, before: str, after: str) -> None:
    """Let versions have other golden rows than before."""
    here = (servables.c.project == project) & (servables.c.golden == before)
    connection.execute(update(servables).where(here).values(golden=after))


def is_golden(connection: Connection, digest: str) -> bool:
    """Say whether a blob is any version's golden rows."""
    return connection.execute(select(servables.c.golden).where(servables.c.golden == digest)).first() is not None


def put_loading(connection: Connection, project: str, loading: Loading) -> None:
    """Store how a version was loaded last."""
    here = (loadings.c.project == project) & (loadings.c.model == loading.model)
    here &= loadings.c.version == loading.version
    values = {"kind": loading.kind and loading.kind.value, "words": loading.words, "at": loading.at}
    if connection.execute(update(loadings).where(here).values(values)).rowcount == 1:
        return
    place = {"project": project, "model": loading.model, "version": loading.version}
    with contextlib.suppress(IntegrityError), connection.begin_nested():  # another gateway may be loading it, too
        connection.execute(insert(loadings), place | values)


def find_loading(connection: Connection, project: str, model: str, version: int) -> Loading | None:
    """Return how a version was loaded last, if it ever was."""
    here = (loadings.c.project == project) & (loadings.c.model == model) & (loadings.c.version == version)
    row = connection.execute(select(loadings).where(here)).one_or_none()
    if row is None:
        return None
    kind = row.kind and ServableKind(row.kind)
    return Loading(model=row.model, version=row.version, kind=kind, words=row.words, at=row.at)


def rescoring(connection: Connection, project: str, endpoint: str) -> Rescoring | None:
    """Return how an endpoint's answers were scored again so far, if they were."""
    here = (rescorings.c.project == project) & (rescorings.c.endpoint == endpoint)
    row = connection.execute(select(rescorings).where(here)).mappings().one_or_none()
    return None if row is None else Rescoring(**{name: row[name] for name in row if name != "project"})


def put_rescoring(connection: Connection, project: str, before: Rescoring | None, after: Rescoring) -> None:
    """Store how an endpoint's answers were scored again, if nobody else has meanwhile; raises `Stale` if somebody has."""
    values = {name: getattr(after, name) for name in ("checked", "differing", "version", "words")}
    values |= {"positions": dict(after.positions)}
    here = (rescorings.c.project == project) & (rescorings.c.endpoint == after.endpoint)
    try:
        if before is None:
            with connection.begin_nested():
                connection.execute(insert(rescorings), {"project": project, "endpoint": after.endpoint} | values)
            return
    except IntegrityError:
        pass
    else:
        same = (rescorings.c.checked == before.checked) & (rescorings.c.positions == dict(before.positions))
        if connection.execute(update(rescorings).where(here, same).values(values)).rowcount == 1:
            return
    raise Stale(f"the answers of endpoint {after.endpoint!r} were scored again by somebody else just now")


def _routes(project: str, name: str) -> Select[Any]:
    return select(routes).where(routes.c.project == project, routes.c.endpoint == name)


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(name=row.name, model=row.model, dataset=row.dataset, secret=row.secret)


def _route(row: Row[Any], *, model: str) -> Route:
    return Route(
        endpoint=row.endpoint,
        model=model,
        epoch=row.epoch,
        variants=tuple(Variant(version=version, weight=weight) for version, weight in row.variants),
        shadows=tuple(row.shadows),
        at=row.at,
        by=row.by,
        reason=row.reason,
    )


def _aside(row: RowMapping) -> Aside:
    values: dict[str, Any] = {entry.name: row[entry.name] for entry in fields(Aside)}
    values["kind"] = AsideKind(row["kind"])
    return Aside(**values)


def _plain(project: str, route: Route) -> dict[str, Any]:
    return {
        "project": project,
        "endpoint": route.endpoint,
        "epoch": route.epoch,
        "variants": [[variant.version, variant.weight] for variant in route.variants],
        "shadows": list(route.shadows),
        "at": route.at,
        "by": route.by,
        "reason": route.reason,
    }
