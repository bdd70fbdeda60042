"""`@step`: a plain function that a run executes, records, tries again and, if asked to, caches."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import FunctionType
from typing import Any, Generic, Literal, Never, ParamSpec, TypeVar, cast, overload

from noria.core.durations import as_duration
from noria.core.errors import BadPipeline, nearest
from noria.pipelines.current import drawing
from noria.pipelines.model import Cached, Needs, Ref, Retry
from noria.pipelines.references import reference_to
from noria.pipelines.signatures import Parameters

_SETTINGS = (
    "retries",
    "backoff_seconds",
    "retry_on",
    "cache",
    "name",
    "environment",
    "priority",
    "timeout_seconds",
    "memory_bytes",
    "cpus",
    "gpus",
    "tags",
    "check_types",
)

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Step(Generic[Params, Result]):
    """A function that runs record. Called outside a pipeline it is the function; inside, the call is drawn.

    `name` says what the step is called in a run; `cache` lets runs reuse a result that the same code made from the
    same inputs, in any run of the project.
    """

    def __init__(
        self,
        function: Callable[Params, Result],
        *,
        retry: Retry,
        cache: Cached,
        name: str | None,
        needs: Needs | None = None,
        environment: Mapping[str, str] | None = None,
        priority: int = 0,
        check_types: bool = True,
    ) -> None:
        refuse_unless_plain(function, "step")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__
        self.retry = retry
        self.cache = cache
        self.needs = needs or Needs()
        self.environment = dict(environment or {})
        self.priority = priority
        self.check_types = check_types
        self.what = f"step {self.name!r}"
        self.parameters = Parameters(self.what, function)

    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """Call the function; while a pipeline is drawn, return a reference to the result of the call instead."""
        current = drawing.get()
        if current is None:
            return self.function(*args, **kwargs)
        arguments = self.parameters.bind_call(args, kwargs)
        return cast("Result", current.call(self, arguments))

    def map(
        self,
        items: Sequence[Any],
        /,
        *more: Never,
        concurrency: int = 1,
        on_failure: Literal["stop", "continue"] = "stop",
        **shared: Any,  # noqa: ANN401 - whatever the function takes
    ) -> list[Result]:
        """Call the step once for each item, given as its first parameter; `shared` are the other arguments.

        `items` is a list or a range, or a reference to a list. Each item is tried, kept, cached and resumed by itself, up to
        `concurrency` of them at a time (in threads of the run's process, unless its executor has processes). With
        `on_failure="continue"` an item whose tries are used up is an `nr.Failure` with its reason in the results;
        else it fails the run. A map over no items is an empty list.

        Raises:
            BadPipeline: what is not a list, a step without parameters, or arguments that do not fit.

        """
        if more:
            raise BadPipeline(
                f"{self.what} was mapped over {1 + len(more)} lists",
                hint="map over one list of pairs, list(zip(a, b)); what all items share is given by name",
            )
        _refuse_map(self.what, items, concurrency=concurrency, on_failure=on_failure)
        items = list(items) if isinstance(items, range) else items
        arguments = self.parameters.bind_call((None,), shared)
        over = self.parameters.first()
        del arguments[over]
        current = drawing.get()
        if current is None:
            return [self.parameters.call(self.function, {over: item, **arguments}) for item in items]
        goes_on = on_failure == "continue"
        drawn = current.call_each(self, items, arguments, over=over, concurrency=concurrency, goes_on=goes_on)
        return cast("list[Result]", drawn)

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
    cache: bool | str | None = None,
    name: str | None = None,
    timeout_seconds: float | None = None,
    memory_bytes: int | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    tags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    priority: int = 0,
    check_types: bool = True,
) -> Callable[[Callable[Params, Result]], Step[Params, Result]]: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    retries: int = 0,
    backoff_seconds: float = 1.0,
    retry_on: type[Exception] | Sequence[type[Exception]] = (Exception,),
    cache: bool | str | None = None,
    name: str | None = None,
    environment: Mapping[str, str] | None = None,
    priority: int = 0,
    check_types: bool = True,
    **needs: Any,
) -> Any:
    """Make a function a step of pipelines: `@step`, or `@step(retries=2, cache=True)`.

    A step that raises one of `retry_on` is tried `retries` times more, after `backoff_seconds` and then twice as long
    each time, give or take a half. With `cache=True` a result is reused wherever the same code meets the same inputs,
    with `cache="12h"` while it is no older than that; without a word it is as the pipeline says, else not at all.
    `environment` are texts that belong to the inputs, such as the version of a container image. Of the steps that wait
    in a run, those of a higher `priority` are executed first, with what they need; else the order is that of the calls.
    A try takes at most `timeout_seconds` and `memory_bytes`, and needs `cpus`, `gpus` and whatever is under `tags`; an
    executor that cannot give that refuses the step. The one in this process cannot end a step: use processes.
    In a run an argument that is not what its parameter is annotated with fails the step, but for `check_types=False`.

    Raises:
        BadPipeline: not a plain function, or a setting that means nothing.

    """
    _refuse_name(name)
    _refuse_environment(environment)
    errors = cast("tuple[type[Exception], ...]", tuple(retry_on) if isinstance(retry_on, Sequence) else (retry_on,))
    _refuse_settings(retries=retries, backoff_seconds=backoff_seconds, errors=errors, priority=priority)
    retry = Retry(retries=retries, backoff_seconds=backoff_seconds, retry_on=errors)
    how: dict[str, Any] = {"retry": retry, "cache": as_cached(cache), "needs": _needs(**needs), "name": name}

    def decorate(inner: Callable[..., Any]) -> Step[..., Any]:
        return Step(inner, environment=environment, priority=priority, check_types=check_types, **how)

    return decorate if function is None else decorate(function)


def as_cached(said: bool | str | timedelta | None) -> Cached:  # noqa: FBT001 - what a decorator was given
    """Read a cache policy: True, False, None, or a duration such as "12h"."""
    if said is None or isinstance(said, bool):
        return said
    if not isinstance(cast("object", said), str | timedelta):
        raise BadPipeline(f"cache={said!r} is no policy", hint='use True, False, or for how long, such as "12h"')
    return as_duration(said)


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


def _refuse_settings(*, retries: object, backoff_seconds: object, errors: tuple[object, ...], priority: object) -> None:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise BadPipeline(f"retries={retries!r} is no number of retries", hint="use 0, 1, 2, ...")
    if not isinstance(backoff_seconds, int | float) or not backoff_seconds >= 0:
        raise BadPipeline(f"backoff_seconds={backoff_seconds!r} is no duration", hint="use seconds, 0 or more")
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in errors):
        raise BadPipeline("retry_on takes types of exceptions", hint="for example retry_on=ConnectionError")
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise BadPipeline(f"priority={priority!r} is no priority", hint="use a whole number; a higher one goes first")


def _refuse_name(name: object) -> None:
    if name is not None and (not isinstance(name, str) or not name or set("/#[]") & set(name)):
        raise BadPipeline(f"{name!r} is no name for a step", hint="use a text without '/', '#', '[' and ']'")


def _refuse_environment(environment: object) -> None:
    if environment is None:
        return
    pairs = cast("Mapping[object, object]", environment) if isinstance(environment, Mapping) else {None: None}
    if not all(isinstance(part, str) for pair in pairs.items() for part in pair):
        raise BadPipeline(
            f"environment={environment!r} is no mapping of texts", hint='write it like {"image": "team/steps:7"}'
        )


def _needs(tags: Sequence[str] = (), **needs: Any) -> Needs:  # noqa: ANN401 - see step
    if isinstance(tags, str) or not all(isinstance(cast("object", tag), str) for tag in tags):
        raise BadPipeline(f"tags={tags!r} are no tags", hint='write them like tags=["fast-disk"]')
    try:
        found = Needs(tags=tuple(tags), **needs)
    except TypeError:
        raise BadPipeline(
            f"@step has no setting {next(iter(needs))!r}", hint=nearest(next(iter(needs)), _SETTINGS)
        ) from None
    for name in ("timeout_seconds", "memory_bytes", "cpus", "gpus"):
        amount = getattr(found, name)
        if not _is_amount(amount, least=0.0 if name == "gpus" else None):
            raise BadPipeline(f"{name}={amount!r} is no amount", hint="use a number above 0")
    return found


def _is_amount(amount: object, *, least: float | None) -> bool:
    if amount is None:
        return True
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return False
    return amount > 0 or amount == least


def _refuse_map(what: str, items: object, *, concurrency: object, on_failure: object) -> None:
    if not isinstance(items, list | tuple | range | Ref):
        raise BadPipeline(
            f"{what} was mapped over a {type(items).__name__}",
            hint="give map a list, as list(...) makes one, or the result of a step that returns one",
        )
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise BadPipeline(f"concurrency={concurrency!r} is no number of items at a time", hint="use 1, 2, 3, ...")
    if on_failure not in {"stop", "continue"}:
        raise BadPipeline(f"on_failure={on_failure!r}", hint='use "stop" or "continue"')
