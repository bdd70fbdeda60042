"""Types of columns: the one type that each kind of value is stored as, and which of two types can hold both.

A kind is spelled as a text, which is how a dataset remembers it: `int`, `float`, `text`, `bool`, `time` for the plain
ones, for the others the type they are stored as, such as `Decimal(precision=38, scale=2)` or `List(Int64)`.
"""

import ast
from typing import cast

import polars as pl

MOMENT = pl.Datetime("us", "UTC")
LOCAL_TIME = pl.Datetime("us")
UNKNOWN = "unknown"
_DIGITS = 38
_PLAIN: dict[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "text": pl.String(),
    "time": MOMENT,
}
_SIMPLE: dict[str, pl.DataType] = {
    str(kind): kind for kind in (*_PLAIN.values(), pl.Date(), pl.Time(), pl.Binary(), pl.Null())
}


def plain_type(kind: str) -> pl.DataType | None:
    """Return the type that a plain kind is stored as; None for any other kind."""
    return _PLAIN.get(kind)


def kind_of_stored(stored: pl.DataType) -> str:
    """Spell the kind of a type that columns are stored as."""
    if stored == pl.Null:
        return UNKNOWN
    return next((kind for kind, plain in _PLAIN.items() if plain == stored), str(stored))


def type_of_kind(kind: str) -> pl.DataType:
    """Return the type that a kind is stored as; Null for one that is not known yet."""
    plain = _PLAIN.get(kind)
    if plain is not None or kind == UNKNOWN:
        return plain or pl.Null()
    return stored_type(_read(ast.parse(kind, mode="eval").body))


def stored_type(given: pl.DataType) -> pl.DataType:  # noqa: PLR0911 - one answer a family of types
    """Return the one type that values of a type's kind are stored as, whatever their width was."""
    if given.is_integer():
        return pl.Int64()
    if given.is_float():
        return pl.Float64()
    if isinstance(given, pl.String | pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(given, pl.Datetime):
        return MOMENT if given.time_zone else LOCAL_TIME
    if isinstance(given, pl.Duration):
        return pl.Duration("us")
    if isinstance(given, pl.Decimal):
        return pl.Decimal(_DIGITS, given.scale)
    if isinstance(given, pl.List | pl.Array):
        return pl.List(stored_type(_instance(given.inner)))
    if isinstance(given, pl.Struct):
        return pl.Struct({field.name: stored_type(_instance(field.dtype)) for field in given.fields})
    return given


def wider(known: pl.DataType, found: pl.DataType) -> pl.DataType | None:  # noqa: PLR0911 - one answer a family of types
    """Return the stored type that holds the values of both stored types; None if none does.

    What is not known yet (a column without values) becomes what the other is. Whole numbers may become fractions or
    decimals; decimals get as many places as either has.
    """
    if known == found or isinstance(found, pl.Null):
        return known
    if isinstance(known, pl.Null):
        return found
    numbers = {str(known.base_type()), str(found.base_type())}
    if numbers == {"Int64", "Float64"}:
        return pl.Float64()
    if numbers <= {"Int64", "Decimal"}:
        return pl.Decimal(_DIGITS, max(_scale(known), _scale(found)))
    if isinstance(known, pl.List) and isinstance(found, pl.List):
        inner = wider(_instance(known.inner), _instance(found.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(known, pl.Struct) and isinstance(found, pl.Struct):
        return _wider_struct(known, found)
    return None


def is_kept(given: pl.DataType) -> bool:
    """Say whether values of a type are kept at all: not Python objects, nor types that other libraries have made."""
    if isinstance(given, pl.List | pl.Array):
        return is_kept(_instance(given.inner))
    if isinstance(given, pl.Struct):
        return bool(given.fields) and all(is_kept(_instance(field.dtype)) for field in given.fields)
    stored = stored_type(given)
    return str(stored) in _SIMPLE or isinstance(stored, pl.Datetime | pl.Duration | pl.Decimal)


def may_lose(given: pl.DataType, wanted: pl.DataType) -> bool:
    """Say whether a cast can change values without a word, so that its result has to be looked at."""
    if given == wanted or isinstance(given, pl.Null):
        return False
    if given.is_nested():
        return True
    if given.is_integer() and wanted == pl.Float64:
        return not isinstance(given, pl.Int8 | pl.Int16 | pl.Int32 | pl.UInt8 | pl.UInt16 | pl.UInt32)
    return isinstance(given, pl.Datetime | pl.Duration) and given.time_unit != "us"


def _wider_struct(known: pl.Struct, found: pl.Struct) -> pl.DataType | None:
    others = {field.name: _instance(field.dtype) for field in found.fields}
    if [field.name for field in known.fields] != list(others):
        return None
    fields = {field.name: wider(_instance(field.dtype), others[field.name]) for field in known.fields}
    return (
        pl.Struct({name: kind for name, kind in fields.items() if kind is not None}) if all(fields.values()) else None
    )


def _scale(kind: pl.DataType) -> int:
    return kind.scale if isinstance(kind, pl.Decimal) else 0


def _instance(kind: object) -> pl.DataType:
    """Return a type as an object; Polars takes and gives classes as well."""
    return kind if isinstance(kind, pl.DataType) else cast("type[pl.DataType]", kind)()


def _read(node: ast.expr) -> pl.DataType:
    """Read a type as Polars spells it, without evaluating anything."""
    match node:
        case ast.Name(id=name):
            return _SIMPLE.get(name) or stored_type(getattr(pl, name)())
        case ast.Call(func=ast.Name(id="List" | "Array"), args=[inner, *_]):
            return pl.List(_read(inner))
        case ast.Call(func=ast.Name(id="Struct"), args=[ast.Dict(keys=names, values=kinds)]):
            pairs = zip(names, kinds, strict=True)
            return pl.Struct({name.value: _read(kind) for name, kind in pairs if isinstance(name, ast.Constant)})  # type: ignore[misc]  # names are texts
        case ast.Call(func=ast.Name(id="Enum")):
            return pl.String()
        case ast.Call(func=ast.Name(id=name), keywords=words):
            told = {str(word.arg): word.value.value for word in words if isinstance(word.value, ast.Constant)}
            return getattr(pl, name)(**told)
        case _:
            raise ValueError(f"{ast.dump(node)} is no type of a column")
