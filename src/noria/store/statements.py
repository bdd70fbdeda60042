"""Statements of every step and every run: compiled once for each kind of database, then handed to its driver as they are.

SQLAlchemy spends several times on a small statement what SQLite does (measured: 0.07 ms against 0.01). What runs once
for each step or run goes this way; everything else is said to the connection in the usual one. What inserts is spelled
here, for SQLAlchemy takes five times as long to build an INSERT of many columns (0.8 ms for a run's, once a process).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import BindParameter, ColumnElement, Connection, Dialect, Executable, Table, TextClause, bindparam, text
from sqlalchemy.exc import DBAPIError

from noria.store.tables import Json, UtcTime

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

Row = tuple[Any, ...]
Change = Callable[[Any], Any]

_OURS = (UtcTime, Json)
"""Types of our own; drivers take and return what is of any other as it is."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in one database's spelling, and what turns values into the driver's and back."""

    text: str
    is_positional: bool
    fixed: Mapping[str, Any]
    names: Sequence[str]
    to_driver: Sequence[tuple[int, Change]]
    from_driver: Sequence[tuple[int, Change]]

    def values(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a list or a mapping, as the driver asks
        whole = {**self.fixed, **given} if self.fixed else given
        cells = _changed([whole[name] for name in self.names], self.to_driver)
        return cells if self.is_positional else dict(zip(self.names, cells, strict=True))

    def read(self, row: Row) -> Row:
        return tuple(_changed(list(row), self.from_driver)) if self.from_driver else row


def _changed(cells: list[Any], changes: Iterable[tuple[int, Change]]) -> list[Any]:
    for place, change in changes:
        cells[place] = change(cells[place])
    return cells


class Statement:
    """One statement, built and compiled when it is first used on a kind of database."""

    def __init__(self, clause: Executable | Callable[[Dialect], Executable]) -> None:
        self._clause = clause
        self._compiled: dict[str, _Compiled] = {}

    def write(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run it, and return how many rows it changed; a broken constraint is SQLAlchemy's `IntegrityError`."""
        known = self._for(connection)
        return self._run(connection, known, known.values(values)).rowcount

    def write_all(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each row, together."""
        known = self._for(connection)
        if len(rows) == 1:
            self._run(connection, known, known.values(rows[0]))
            return
        self._run(connection, known, [known.values(row) for row in rows], many=True)

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Row]:
        """Run a query, and return its rows."""
        known = self._for(connection)
        return [known.read(row) for row in self._run(connection, known, known.values(values)).fetchall()]

    @staticmethod
    def _run(connection: Connection, known: _Compiled, values: Any, *, many: bool = False) -> Any:  # noqa: ANN401 - a driver's cursor
        try:
            cursor: Any = connection.connection.cursor()
            (cursor.executemany if many else cursor.execute)(known.text, values)
        except connection.dialect.loaded_dbapi.Error as problem:
            kind = connection.dialect.loaded_dbapi.Error
            raise DBAPIError.instance(known.text, values, problem, kind, dialect=connection.dialect) from problem
        return cursor

    def _for(self, connection: Connection) -> _Compiled:
        known = self._compiled.get(connection.dialect.name)
        if known is None:
            dialect = connection.dialect
            built = self._clause if isinstance(self._clause, Executable) else self._clause(dialect)
            known = self._compiled[dialect.name] = _compile(built, dialect)
        return known


def insertion(table: Table, *names: str) -> Statement:
    """Return a statement that inserts a row: these columns of it, or all."""
    return Statement(lambda _: spelled(table, "INSERT INTO {table} ({columns}) VALUES ({values})", names))


def spelled(table: Table, words: str, names: Sequence[str] = (), more: Sequence[BindParameter[Any]] = ()) -> TextClause:
    """Return a statement in words: about `{table}`, some or all of its `{columns}`, and `{values}` for them.

    What the words want besides, such as `:name`, is a text or a number, or as `more` says.
    """
    columns = [column for column in table.columns if not names or column.name in names]
    quoted = ", ".join(f'"{column.name}"' for column in columns)
    wanted = ", ".join(f":{column.name}" for column in columns)
    typed = (bindparam(column.name, type_=column.type) for column in columns if isinstance(column.type, _OURS))
    return text(words.format(table=table.name, columns=quoted, values=wanted)).bindparams(*typed, *more)


def upsert(table: Table, *, when: ColumnElement[bool] | None = None) -> Statement:
    """Return a statement that inserts a row, or replaces the one with its key where `when` holds."""
    key = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name not in key]

    def build(dialect: Dialect) -> Executable:
        new = _insert(dialect)(table)
        return new.on_conflict_do_update(
            index_elements=key, set_={name: new.excluded[name] for name in others}, where=when
        )

    return Statement(build)


def _insert(dialect: Dialect) -> Any:  # noqa: ANN401 - two functions of the same shape without a type in common
    return import_module(f"sqlalchemy.dialects.{dialect.name}").insert  # the one that is used: PostgreSQL's takes 25 ms


def _compile(clause: Executable, dialect: Dialect) -> _Compiled:
    compiled = cast("SQLCompiler", cast("Any", clause).compile(dialect=dialect))
    changes = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
    order = compiled.positiontup
    names = list(compiled.binds if order is None else order)
    to_driver = [(place, change) for place, name in enumerate(names) if (change := changes[name]) is not None]
    columns: Any = getattr(clause, "selected_columns", ())
    from_driver = [
        (place, change)
        for place, column in enumerate(columns)
        if isinstance(column.type, _OURS)
        and (change := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
    ]
    fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    return _Compiled(str(compiled), order is not None, fixed, names, to_driver, from_driver)
