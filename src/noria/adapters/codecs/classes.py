"""Values of users' own classes: enums, dataclasses, named tuples, models of pydantic and attrs, structs of msgspec.

What is stored is the class's name, and the values of its fields. Who reads one imports the class by its name and puts the
fields into a new object: no constructor runs, but that of a msgspec struct, which cannot be made without.
"""

import functools
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import Enum, Flag
from types import MemberDescriptorType
from typing import Any, cast

from noria.adapters.codecs import trust
from noria.adapters.codecs.spelling import Fields, Kind, Reader, Spelled, Speller, text_of
from noria.core.codecs import name_of
from noria.core.errors import CodeChanged, Invalid, NoriaError
from noria.pipelines.references import find, module_name

_NOT_VALUES = frozenset({"__orig_class__"})


def kind_of_class(kind: type[Any]) -> Kind | None:
    """Return how values of a user's class are spelled; None for a class that is none of these."""
    if issubclass(kind, Enum):
        return _FLAG if issubclass(kind, Flag) else _ENUM
    if kind.__module__.partition(".")[0] == "noria" or trust.is_estimator(kind):
        return None
    if tuple in kind.__mro__:
        return _TUPLE if _names_of_tuple(kind) is not None else None
    return _OBJECT if _fields_of(kind) is not None and _is_made_of_fields(kind) else None


def _names_of_tuple(kind: type[Any]) -> tuple[str, ...] | None:
    names = getattr(kind, "_fields", None)
    return cast("tuple[str, ...]", names) if isinstance(names, tuple) else None


def _fields_of(kind: type[Any]) -> tuple[str, ...] | None:
    """Return the names of the fields that a class declares; None for one that declares none in a way that is known."""
    if is_dataclass(kind):
        return tuple(each.name for each in dataclass_fields(kind))
    for attribute in ("__struct_fields__", "__pydantic_fields__"):
        declared: Any = getattr(kind, attribute, None)
        if isinstance(declared, tuple | dict):
            return tuple(cast("Iterable[str]", declared))
    attributes: Any = getattr(kind, "__attrs_attrs__", None)
    return tuple(each.name for each in cast("Iterable[Any]", attributes)) if isinstance(attributes, tuple) else None


def _is_made_of_fields(kind: type[Any]) -> bool:
    """Say whether an object of a class is its attributes and nothing else: it is no kind of list, error or file, too."""
    if _is_struct(kind):
        return True
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def _is_struct(kind: type[Any]) -> bool:
    return isinstance(getattr(kind, "__struct_fields__", None), tuple)


def _reference_to(kind: type[Any], place: str) -> str:
    """Return the name of a class. Raises `Invalid` when the class is not what stands under its name."""
    module = "__main__" if kind.__module__ == "__mp_main__" else kind.__module__
    found: object = sys.modules.get(module)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not kind:
        raise Invalid(
            f"no codec carries a {name_of(kind)}{' at ' + place if place else ''}: nobody finds its class by that name",
            hint="define the class at the top of a module, under its own name",
        )
    return f"{module_name(module)}:{kind.__qualname__}"


def _class(fields: Fields, kind: Kind) -> type[Any]:
    """Return the class of a stored value. Raises `Invalid` unless what has that name is a class of that kind."""
    reference = cast("str", fields["of"])
    try:
        found: object = find(reference)
    except NoriaError as problem:
        raise Invalid(
            f"the class {reference} of a stored value is not there", hint=problem.hint or "bring it back, or run anew"
        ) from problem
    except Exception as problem:
        raise Invalid(
            f"the class {reference} of a stored value cannot be imported: {type(problem).__name__}: {problem}",
            hint="mend its module",
        ) from problem
    if not isinstance(found, type) or kind_of_class(cast("type[Any]", found)) is not kind:
        raise _changed(reference, f"is no {kind.mark}")
    return cast("type[Any]", found)


def _changed(reference: str, how: str) -> CodeChanged:
    return CodeChanged(
        f"{reference} {how} any more, as it was when a value of it was stored",
        hint="bring the old class back, or run the steps again with the new one",
    )


def _spell_enum(speller: Speller, value: Enum, place: str) -> dict[str, Spelled]:
    told: dict[str, Spelled] = {"of": _reference_to(type(value), place), "name": value.name}
    return told | _value_of(speller, value, place)


def _value_of(speller: Speller, value: Enum, place: str) -> dict[str, Spelled]:
    """Return a member's value, by which a changed enum is seen; nothing for one that is not plain, such as a function."""
    try:
        return {"v": speller.key(value.value, f"{place}.value")}
    except Invalid:
        return {}


def _read_enum(reader: Reader, fields: Fields) -> object:
    kind = _class(fields, _ENUM)
    member: Any = kind.__members__.get(fields["name"])
    if member is None:
        raise _changed(fields["of"], f"has no {fields['name']}")
    now = _value_of(Speller(reader.find), member, "")
    if text_of(now.get("v")) != text_of(fields.get("v")):
        raise _changed(fields["of"], f"has another value for {fields['name']} and is not the same")
    return member


def _spell_flag(speller: Speller, value: Flag, place: str) -> dict[str, Spelled]:
    names = speller.named(_members(type(value)), place)
    return {"of": _reference_to(type(value), place), "v": value.value, "names": names}


def _members(kind: type[Any]) -> dict[str, object]:
    members = cast("Mapping[str, Flag]", kind.__members__)
    return {name: member.value for name, member in members.items()}


def _read_flag(_: Reader, fields: Fields) -> object:
    kind = _class(fields, _FLAG)
    if _members(kind) != fields["names"]:
        raise _changed(fields["of"], "has not the same members")
    return kind(fields["v"])


def _spell_tuple(speller: Speller, value: Any, place: str) -> dict[str, Spelled]:  # noqa: ANN401 - of a user's class
    kind = cast("type[Any]", type(value))
    names = _names_of_tuple(kind) or ()
    if getattr(value, "__dict__", None) or len(names) != len(value):
        raise Invalid(
            f"no codec carries a {name_of(kind)}{' at ' + place if place else ''} with more than its fields",
            hint="use a dataclass",
        )
    items = dict(zip(names, tuple(value), strict=True))
    return {"of": _reference_to(kind, place), "v": speller.named(items, place)}


def _read_tuple(reader: Reader, fields: Fields) -> object:
    kind = _class(fields, _TUPLE)
    if tuple(fields["v"]) != _names_of_tuple(kind):
        raise _changed(fields["of"], "has not the same fields")
    return cast("Any", tuple).__new__(kind, reader.named(fields["v"]).values())


def _slots(kind: type[Any]) -> dict[str, Any]:
    """Return the attributes that have a place of their own in an object, outside its `__dict__`."""
    return {
        name: slot
        for base in reversed(kind.__mro__)
        for name, slot in vars(base).items()
        if type(slot) is MemberDescriptorType
    }


def _state(value: object) -> dict[str, object]:
    """Return an object's attributes, without what it only remembers of a calculation."""
    kind = cast("type[Any]", type(value))
    in_slots = {name: slot.__get__(value) for name, slot in _slots(kind).items() if _is_set(slot, value)}
    attributes = cast("dict[str, object]", getattr(value, "__dict__", {}))
    return in_slots | {name: item for name, item in attributes.items() if not _is_remembered(kind, name)}


def _is_remembered(kind: type[Any], name: str) -> bool:
    return name in _NOT_VALUES or isinstance(_declared(kind, name), functools.cached_property)


def _is_set(slot: Any, value: object) -> bool:  # noqa: ANN401 - a descriptor
    try:
        slot.__get__(value)
    except AttributeError:
        return False
    return True


def _declared(kind: type[Any], name: str) -> object:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _spell_object(speller: Speller, value: object, place: str) -> dict[str, Spelled]:
    kind = cast("type[Any]", type(value))
    reference, state = _reference_to(kind, place), _state(value)
    fields = _fields_of(kind) or ()
    told: dict[str, Spelled] = {
        "of": reference,
        "v": speller.named({name: state[name] for name in fields if name in state}, place),
    }
    more = {name: attribute for name, attribute in state.items() if name not in fields}
    unset = [name for name in fields if name not in state]
    return told | ({"more": speller.named(more, place)} if more else {}) | ({"unset": unset} if unset else {})


def _read_object(reader: Reader, fields: Fields) -> object:
    kind = _class(fields, _OBJECT)
    if {*fields["v"], *fields.get("unset", ())} != set(_fields_of(kind) or ()):
        raise _changed(fields["of"], "has not the same fields")
    stored = reader.named(fields["v"])
    made = kind(**_by_parameter(kind, stored)) if _is_struct(kind) else object.__new__(kind)
    slots, attributes = _slots(kind), getattr(made, "__dict__", None)
    for name, item in (stored | reader.named(fields.get("more", {}))).items():
        if name in slots:
            slots[name].__set__(made, item)
        elif attributes is not None:
            attributes[name] = item
        else:
            raise _changed(fields["of"], f"has no attribute {name}")
    return made


def _by_parameter(kind: type[Any], stored: Mapping[str, object]) -> dict[str, object]:
    return {name: stored[name] for name in kind.__struct_fields__}


_ENUM = Kind(mark="enum", spell=_spell_enum, read=_read_enum)
_FLAG = Kind(mark="flag", spell=_spell_flag, read=_read_flag)
_TUPLE = Kind(mark="named tuple", spell=_spell_tuple, read=_read_tuple, contents=iter)
_OBJECT = Kind(mark="object", spell=_spell_object, read=_read_object, contents=lambda value: _state(value).values())
KINDS = (_ENUM, _FLAG, _TUPLE, _OBJECT)
