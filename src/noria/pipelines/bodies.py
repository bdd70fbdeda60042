"""What stands in one function: its normalised source, or its bytecode where there is no source, and the names it uses."""

import ast
import dis
import linecache
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import resolve_name
from types import CodeType, FunctionType
from typing import Any, cast
from weakref import WeakKeyDictionary

from noria.pipelines.dynamic import ANYWHERE, BY_TEXT, made_up, texts_in

Definition = ast.FunctionDef | ast.AsyncFunctionDef

_FUTURES = 0x1FF0000
"""The bits of `co_flags` that tell of `from __future__` imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A function's own code, and the globals, attributes and imports it uses, each in a fixed order."""

    text: str
    names: tuple[str, ...]
    attributes: tuple[str, ...]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]
    chains: frozenset[str] = frozenset()
    """Globals with the attributes that are asked of them right there: `package.module.function`, and its beginnings."""
    bare: frozenset[str] = frozenset()
    """Globals that are handed on as they are."""
    texts: tuple[str, ...] = ()
    """Constants that may name a module or an attribute, where code reaches something by a text."""
    made_up: tuple[str, ...] = ()
    """Expressions that reach something by a text which is made up when they are executed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The statements of a module that assign a name, and the names they use."""

    text: str
    names: tuple[str, ...]


_known: WeakKeyDictionary[FunctionType, tuple[CodeType, Body]] = WeakKeyDictionary()


def body_of(function: FunctionType) -> Body:
    """Return a function's body; remembered for each function as long as its code is the same."""
    known = _known.get(function)
    if known is not None and known[0] is function.__code__:
        return known[1]
    code = function.__code__
    source, used = _source(function), _used(code)
    body = Body(
        text=source or _bytecode(code, doc=function.__doc__),
        names=tuple(sorted(used.names)),
        attributes=tuple(sorted(used.attributes)),
        imports=tuple(sorted(used.imports)),
        chains=frozenset(used.chains),
        bare=frozenset(used.bare),
    )
    by_text = (BY_TEXT & used.names) | (ANYWHERE & used.attributes)
    if by_text:
        source = source or _source(function, with_imports=True)
        told = tuple(sorted(by_text)) if source is None else made_up(source)
        body = replace(body, texts=texts_in(_all_codes(code)), made_up=told)
    _known[function] = (code, body)
    return body


def assignment_of(name: str, names: Mapping[str, Any]) -> Assignment | None:
    """Return how a module's top level assigns a name, if its source can be read."""
    found = _assignments(_source_of(names)).get(name)
    if not found:
        return None
    used = {inner.id for node in found for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return Assignment(text="\n".join(ast.unparse(node) for node in found), names=tuple(sorted(used)))


def import_of(name: str, names: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return from which module, and under which name there, a module's top level has a name by `from ... import`."""
    for node in _statements(_source_of(names)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    spelled = "." * node.level + (node.module or "")
                    return resolve_name(spelled, names.get("__package__") or ""), alias.name
    return None


def _source_of(names: Mapping[str, Any]) -> str:
    file = names.get("__file__")
    return "".join(linecache.getlines(file, dict(names))) if isinstance(file, str) else ""


@lru_cache(maxsize=64)
def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError):
        return []


@lru_cache(maxsize=64)
def _assignments(source: str) -> Mapping[str, list[ast.stmt]]:
    """Return the statements that stand at the top and assign a name, be it in a loop or under a condition, by the name."""
    found: dict[str, list[ast.stmt]] = {}
    for node in _statements(source):
        for name in _assigned(node):
            found.setdefault(name, []).append(node)
    return found


def _assigned(node: ast.AST) -> set[str]:
    """Return the names that a statement assigns, or changes a part of; what functions and classes do is their own."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return set()
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For | ast.NamedExpr):
        targets = [node.target]
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        targets = [node.optional_vars]
    names = {inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)}
    return names.union(*map(_assigned, ast.iter_child_nodes(node)))


def _source(function: FunctionType, *, with_imports: bool = False) -> str | None:
    """Return the source without what does not matter; None unless it compiles to the very code that runs.

    Python 3.11 compiles calls of what a module has imported in a way of its own, which is met `with_imports` alone.
    Texts of bodies, and so digests, have always been made without.
    """
    definition = _definition(function, with_imports=with_imports)
    if definition is None:  # the lines that Python remembers may be older than the code: it was imported again
        linecache.checkcache(function.__code__.co_filename)
        definition = _definition(function, with_imports=with_imports)
    return None if definition is None else ast.unparse(_Plain().visit(definition))


def _definition(function: FunctionType, *, with_imports: bool) -> Definition | None:
    code = function.__code__
    source = "".join(linecache.getlines(code.co_filename, function.__globals__))
    found = _definitions(source).get((code.co_firstlineno, code.co_name))
    if found is None:
        return None
    definition: Definition = pickle.loads(pickle.dumps(found))  # noqa: S301 - a third of deepcopy's time
    definition.decorator_list = []
    imports = sorted(_imported_names(source) & set(code.co_names)) if with_imports else []
    try:
        is_same = _is_same(_compiled(definition, code, imports), code)
    except (SyntaxError, ValueError, StopIteration):
        return None
    return definition if is_same else None  # a file edited since is no source


@lru_cache(maxsize=64)
def _definitions(source: str) -> Mapping[tuple[int, str], Definition]:
    """Return a module's functions by the line they begin in, decorators included, and by name."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return {}
    return {(_first_line(node), node.name): node for node in _inside(module) if isinstance(node, Definition)}


def _inside(module: ast.Module) -> Iterator[ast.AST]:
    """Yield the statements of a module, nested ones too; expressions, which are most of the nodes, have none in them."""
    waiting: list[ast.AST] = [module]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
                yield node
                waiting.append(node)


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


class _Plain(ast.NodeTransformer):
    """Takes away what does not change what code does: docstrings and annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop a function's docstring and what it says it returns."""
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Drop the same of an async function."""
        return self._function(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drop a parameter's annotation."""
        node.annotation = None
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def _compiled(definition: Definition, code: CodeType, imports: list[str]) -> CodeType:
    """Compile a definition inside a function that has its free names, so that it comes out as it did in its place."""
    around = ast.parse(f"def around({', '.join(code.co_freevars)}): pass")
    outer = cast("ast.FunctionDef", around.body[0])
    outer.body = [definition]
    if imports:
        around.body.insert(0, ast.Import([ast.alias(name) for name in imports]))
    module = compile(
        ast.fix_missing_locations(around), code.co_filename, "exec", code.co_flags & _FUTURES, dont_inherit=True
    )
    inner = next(_codes(module))
    return next(found for found in _codes(inner) if found.co_name == code.co_name)


def _is_same(one: CodeType, other: CodeType) -> bool:
    plain = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_kwonlyargcount")
    if any(getattr(one, name) != getattr(other, name) for name in plain) or len(one.co_consts) != len(other.co_consts):
        return False
    return all(
        _is_same(left, right)
        if isinstance(left, CodeType) and isinstance(right, CodeType)
        else (type(left), _constant(left)) == (type(right), _constant(right))
        for left, right in zip(one.co_consts, other.co_consts, strict=True)
    )


def _bytecode(code: CodeType, *, doc: str | None = None) -> str:
    consts = [
        "doc"
        if doc is not None and const is doc
        else _bytecode(const)
        if isinstance(const, CodeType)
        else _constant(const)
        for const in code.co_consts
    ]
    parts = (code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, consts)
    return repr(parts)


def _constant(const: object) -> str:
    """Spell a constant; the items of a set are sorted, for their order is chance."""
    if isinstance(const, frozenset):
        return repr(sorted(map(_constant, cast("frozenset[object]", const))))
    if isinstance(const, tuple):
        return f"({', '.join(map(_constant, cast('tuple[object, ...]', const)))})"
    return repr(const)


@dataclass(slots=True)
class _Used:
    """What the instructions of a function, and of those inside it, load."""

    names: set[str] = field(default_factory=set[str])
    attributes: set[str] = field(default_factory=set[str])
    imports: set[tuple[int, str, tuple[str, ...]]] = field(default_factory=set[tuple[int, str, tuple[str, ...]]])
    chains: set[str] = field(default_factory=set[str])
    bare: set[str] = field(default_factory=set[str])


def _used(code: CodeType) -> _Used:
    used = _Used()
    for part in _all_codes(code):
        constants: list[object] = []
        chain = ""
        for instruction in dis.get_instructions(part):
            before, chain = chain, ""
            match instruction.opname:
                case "LOAD_GLOBAL" | "LOAD_NAME":
                    chain = instruction.argval
                    used.names.add(chain)
                case "LOAD_ATTR" | "LOAD_METHOD":
                    used.attributes.add(instruction.argval)
                    if before:
                        chain = f"{before}.{instruction.argval}"
                        used.chains.add(chain)
                        continue
                case "IMPORT_NAME":
                    level, wanted = constants[-2:]
                    used.imports.add((cast("int", level), instruction.argval, cast("tuple[str, ...]", wanted or ())))
                case "LOAD_CONST" | "LOAD_SMALL_INT":
                    constants.append(instruction.argval)
                case "EXTENDED_ARG":
                    chain = before
                    continue
                case _:
                    pass
            if before and "." not in before:
                used.bare.add(before)
    return used


def source_without_docs(source: str) -> str:
    """Return a module's source without comments, docstrings and annotations; as it is if it cannot be parsed."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    if ast.get_docstring(module, clean=False) is not None:
        module.body = module.body[1:]
    return ast.unparse(_Plain().visit(module))


def bound_in(names: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that a module's own source assigns or imports, wherever at its top that stands."""
    return _bound(_source_of(names))


@lru_cache(maxsize=64)
def _bound(source: str) -> frozenset[str]:
    return _imported_names(source).union(_assignments(source))


@lru_cache(maxsize=64)
def _imported_names(source: str) -> frozenset[str]:
    found = set[str]()
    waiting: list[ast.AST] = [*_statements(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += [
                inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt | ast.excepthandler)
            ]
    return frozenset(found)


def _codes(code: CodeType) -> Iterator[CodeType]:
    return (const for const in code.co_consts if isinstance(const, CodeType))


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in _codes(code):
        yield from _all_codes(inner)
