"""Where code reaches something by a text: `getattr`, `import_module` and their like, and whether the text stands there."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType
from typing import cast

_BY_NAME = frozenset({"getattr", "attrgetter", "methodcaller"})
_IMPORTS = frozenset({"import_module", "__import__"})
_WHOLE = frozenset({"vars", "globals", "dir"})
_RUNS = frozenset({"eval", "exec", "compile"})
ANYWHERE = _BY_NAME | _IMPORTS | {"modules", "__dict__", "getmembers", "run_path", "run_module"}
BY_TEXT = ANYWHERE | _WHOLE | _RUNS
_ANY_CODE = _IMPORTS | _RUNS | {"modules", "run_path", "run_module"}
_NAME = re.compile(r"\.*[^\W\d]\w*(\.[^\W\d]\w*)*")
_LONGEST = 60


def texts_in(codes: Iterable[CodeType]) -> tuple[str, ...]:
    """Return the constants of some code that may be names of modules or attributes."""
    found = {text for code in codes for const in code.co_consts for text in texts_of(const)}
    return tuple(sorted(text for text in found if _NAME.fullmatch(text)))


def texts_of(const: object) -> Iterator[str]:
    """Yield the texts in a constant."""
    if isinstance(const, str):
        yield const
    elif isinstance(const, tuple | frozenset):
        for item in cast("Iterable[object]", const):
            yield from texts_of(item)


def reaches_modules(names: Iterable[str]) -> bool:
    """Say whether code that uses these names may get at a module by a text."""
    return not (_IMPORTS | {"modules"}).isdisjoint(names)


@lru_cache(maxsize=1024)
def made_up(source: str) -> tuple[str, ...]:
    """Return the expressions that reach something by a text that is made up when they are executed."""
    return tuple(sorted({_short(node) for node in ast.walk(ast.parse(source)) if _is_made_up(node)}))


def cannot_be_followed(expressions: Iterable[str]) -> tuple[str, ...]:
    """Return those of such expressions that may lead to any code at all: it is not known of which module."""
    return tuple(told for told in expressions if _ANY_CODE & set(re.findall(r"\w+", told)))


def _is_made_up(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr=name):
            return name == "__dict__"
        case ast.Subscript(value=value, slice=key):
            return _called(value) == "modules" and not isinstance(key, ast.Constant)
        case ast.Call(func=function, args=args):
            return _calls_made_up(function, args)
        case _:
            return False


def _calls_made_up(function: ast.expr, args: list[ast.expr]) -> bool:
    name = _called(function)
    if name in _WHOLE | _RUNS:
        return isinstance(function, ast.Name)  # a frame, a model and a cursor have methods of these names
    if name == "get" and isinstance(function, ast.Attribute):
        name = _called(function.value)
    texts = {"getattr": args[1:2], "import_module": args[:1], "__import__": args[:1], "modules": args[:1]}
    is_by_name = name in _BY_NAME or name in texts
    made_up = not all(isinstance(text, ast.Constant) for text in texts.get(name, args))
    return (is_by_name and made_up) or name in {"getmembers", "run_path", "run_module"}


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
