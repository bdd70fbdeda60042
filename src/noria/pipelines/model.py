"""References, inputs that are loaded only when needed, and how a step is tried again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, Protocol, runtime_checkable

from noria.core.errors import BadPipeline

UNCHECKED = "give it such a value; to take any: @nr.{kind}(check_types=False), or check_types = false in noria.toml"
"""The way out for a value that is not what its parameter is annotated with."""
_WAIT = "wait for it with nr.value(reference), or do it inside a step"


@runtime_checkable
class Input(Protocol):
    """A parameter that is known by its digest, and loaded only when a step really runs."""

    @property
    def digest(self) -> str:
        """Return the digest of what `load` returns; the same digest, the same value."""
        ...

    def load(self) -> object:
        """Return the value, a fresh one each time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a step that raised is tried again, after how long, and for which errors."""

    retries: int = 0
    backoff_seconds: float = 1.0
    retry_on: tuple[type[Exception], ...] = (Exception,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a try of a step needs of whatever executes it; an executor that cannot give it refuses in words."""

    timeout_seconds: float | None = None
    memory_bytes: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    tags: tuple[str, ...] = ()


Cached = bool | timedelta | None
"""Whether a step's results are reused: always, for as long as a duration, never, or as the pipeline says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Stands in a map's results for an item that failed, when the map goes on without it (`on_failure="continue"`)."""

    step: str
    reason: str


class Ref:
    """A reference to a value that is not there yet: a step's result, a branch's, or a large parameter.

    Hand it to steps and return it. Asking for the value itself (as a condition, in a loop, in a calculation, as text)
    raises `BadPipeline`, for the graph is drawn before the value is known; `nr.value` waits for it.
    """

    __slots__ = ("drawing", "label", "origin")

    def __init__(self, origin: object, drawing: object, *, label: str) -> None:
        self.origin = origin
        self.drawing = drawing
        self.label = label

    def __repr__(self) -> str:
        return f"<reference to {self.label}>"

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> NoReturn:
        raise _misused(
            self, "as a condition", hint="use nr.branch(condition, then, otherwise), or wait: if nr.value(reference)"
        )

    def __iter__(self) -> Iterator[NoReturn]:
        raise _misused(
            self, "in a loop or unpacked", hint="loop inside a step, or wait: for item in nr.value(reference)"
        )

    def __str__(self) -> str:
        raise _misused(self, "as text")

    def __format__(self, spec: str) -> str:
        raise _misused(self, "as text")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise _misused(self, f"for its attribute {name!r}")


def _misused(reference: Ref, how: str, *, hint: str = _WAIT) -> BadPipeline:
    return BadPipeline(f"{reference.label} is not known yet and cannot be used {how}", hint=hint)


def _refuse(how: str) -> Callable[..., NoReturn]:
    def operator(reference: Ref, *_others: object, **_more: object) -> NoReturn:
        raise _misused(reference, how)

    return operator


_CALCULATIONS = (
    "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor neg pos abs invert int float complex "
    "index round trunc floor ceil"
)
for _name in _CALCULATIONS.split():
    for _form in (f"__{_name}__", f"__r{_name}__"):
        setattr(Ref, _form, _refuse("in a calculation"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Ref, f"__{_name}__", _refuse("in a comparison"))
for _name in ("getitem", "setitem", "delitem", "contains", "len", "reversed"):
    setattr(Ref, f"__{_name}__", _refuse("as a collection"))
for _name in ("call", "enter", "exit", "array", "next", "fspath", "await", "aiter", "aenter", "aexit"):
    setattr(Ref, f"__{_name}__", _refuse("like this"))
