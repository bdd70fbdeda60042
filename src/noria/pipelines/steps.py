"""`@step`: a plain function that a run executes, records, tries again and, if asked to, caches."""

import functools
import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from noria.core.errors import BadPipeline
from noria.pipelines import signatures
from noria.pipelines.current import drawing
from noria.pipelines.model import Retry
from noria.pipelines.references import reference_to

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Step(Generic[Params, Result]):
    """A function that runs record. Called outside a pipeline it is the function; inside, the call is drawn.

    `name` says what the step is called in a run; `cache` lets runs reuse a result that the same code made from the
    same inputs, in any run of the project.
    """

    def __init__(self, function: Callable[Params, Result], *, retry: Retry, cache: bool, name: str | None) -> None:
        refuse_unless_plain(function, "step")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__
        self.retry = retry
        self.cache = cache
        self.signature = inspect.signature(function)
        self.what = f"step {self.name!r}"

    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """Call the function; while a pipeline is drawn, return a reference to the result of the call instead."""
        current = drawing.get()
        if current is None:
            return self.function(*args, **kwargs)
        arguments = signatures.bind_call(self.what, self.signature, args, kwargs)
        return cast("Result", current.call(self, arguments))

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    @functools.cached_property
    def reference(self) -> str:
        """Return the module and the name by which the function is found; part of every cache key."""
        return reference_to(self.function)


@overload
def step(function: Callable[Params, Result], /) -> Step[Params, Result]: ...


@overload
def step(
    *,
    retries: int = 0,
    backoff_seconds: float = 1.0,
    retry_on: type[Exception] | Sequence[type[Exception]] = (Exception,),
    cache: bool = False,
    name: str | None = None,
) -> Callable[[Callable[Params, Result]], Step[Params, Result]]: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    retries: int = 0,
    backoff_seconds: float = 1.0,
    retry_on: type[Exception] | Sequence[type[Exception]] = (Exception,),
    cache: bool = False,
    name: str | None = None,
) -> Any:
    """Make a function a step of pipelines: `@step`, or `@step(retries=2, cache=True)`.

    A step that raises one of `retry_on` is tried `retries` times more, after `backoff_seconds` and then twice as long
    each time, give or take a half. With `cache=True` a result is reused wherever the same code meets the same inputs.

    Raises:
        BadPipeline: not a plain function, or a setting that means nothing.

    """
    if name is not None and (not name or set("/#") & set(name)):
        raise BadPipeline(f"{name!r} is no name for a step", hint="use a text without '/' and '#'")
    errors = (retry_on,) if isinstance(retry_on, type) else tuple(retry_on)
    _refuse_settings(retries=retries, backoff_seconds=backoff_seconds, errors=errors)
    retry = Retry(retries=retries, backoff_seconds=backoff_seconds, retry_on=errors)

    def decorate(inner: Callable[..., Any]) -> Step[..., Any]:
        return Step(inner, retry=retry, cache=cache, name=name)

    return decorate if function is None else decorate(function)


def refuse_unless_plain(function: object, kind: str) -> None:
    """Raise `BadPipeline` unless this is a named, synchronous function of its own."""
    if not isinstance(function, FunctionType):
        what = function if isinstance(function, type) else type(function)
        raise BadPipeline(
            f"@{kind} is put on a plain function, not on a {what.__name__}", hint=f"write a def with @{kind} above it"
        )
    if function.__name__ == "<lambda>":
        raise BadPipeline(
            f"a lambda cannot be a {kind}: it has no name to be known by", hint=f"write a def with @{kind} above it"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise BadPipeline(
            f"{kind} {function.__name__!r} is async", hint="write a plain def; call asyncio.run inside it"
        )
    if inspect.isgeneratorfunction(function):
        raise BadPipeline(f"{kind} {function.__name__!r} yields", hint="return a list instead")
    if next(iter(inspect.signature(function).parameters), "") in {"self", "cls"}:
        raise BadPipeline(
            f"{kind} {function.__name__!r} is a method",
            hint="write a plain function and hand the object's values to it",
        )


def _refuse_settings(*, retries: object, backoff_seconds: object, errors: tuple[object, ...]) -> None:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise BadPipeline(f"retries={retries!r} is no number of retries", hint="use 0, 1, 2, ...")
    if not isinstance(backoff_seconds, int | float) or not backoff_seconds >= 0:
        raise BadPipeline(f"backoff_seconds={backoff_seconds!r} is no duration", hint="use seconds, 0 or more")
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in errors):
        raise BadPipeline("retry_on takes types of exceptions", hint="for example retry_on=ConnectionError")
