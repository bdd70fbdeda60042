"""`@pipeline`, `value` and `branch`: calling a function of steps draws a graph, which a run executes."""

import functools
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, cast, overload

from noria.core.errors import BadPipeline
from noria.pipelines.code import code_digest
from noria.pipelines.current import drawing
from noria.pipelines.model import Cached, Ref
from noria.pipelines.nodes import Choice, Each, Given, Node
from noria.pipelines.references import reference_to
from noria.pipelines.signatures import Parameters
from noria.pipelines.steps import Step, as_cached, refuse_unless_plain

Params = ParamSpec("Params")
Result = TypeVar("Result")
Value = TypeVar("Value")

Waiting = Callable[[object], object]


class Drawing:
    """The graph that a pipeline draws while its function is called.

    `wait` gives the values of references to a pipeline that asks for them by `nr.value`; None when the graph is
    drawn without being run, and then asking raises `BadPipeline`. `keep` is given what steps are called with and what
    branches return, and gives back what stands for it as it is now, whatever the pipeline does to it later.
    """

    def __init__(self, wait: Waiting | None = None, *, keep: Callable[[object], object] | None = None) -> None:
        self.nodes: list[Node] = []
        self.choices: dict[str, Choice] = {}
        self._wait = wait
        self._keep = keep or _unchanged
        self._path = ""
        self._guards: tuple[tuple[str, bool], ...] = ()
        self._counts: dict[str, int] = {}

    def given(self, name: str) -> Ref:
        """Return a reference to a parameter of the run."""
        return Ref(Given(name=name), self, label=f"the parameter {name!r}")

    def call(self, step: Step[..., Any], arguments: Mapping[str, object]) -> Ref:
        """Draw a call of a step."""
        for argument in arguments.values():
            for _ in self.references_in(argument, f"{step.what} was given"):
                pass
        kept = {name: self._keep(argument) for name, argument in arguments.items()}
        node = Node(id=self._named(step.name), step=step, arguments=kept, guards=self._guards)
        self.nodes.append(node)
        return Ref(node, self, label=f"the result of step {node.id!r}")

    def call_each(self, step: Step[..., Any], items: object, shared: Mapping[str, object], **how: Any) -> Ref:  # noqa: ANN401 - see Each
        """Draw a call of a step for each item of a list, which may not be known yet."""
        for argument in (items, *shared.values()):
            for _ in self.references_in(argument, f"{step.what} was given"):
                pass
        node = Node(
            id=self._named(step.name),
            step=step,
            arguments={name: self._keep(argument) for name, argument in shared.items()},
            guards=self._guards,
            each=Each(items=self._kept_items(items), **how),
        )
        self.nodes.append(node)
        return Ref(node, self, label=f"the results of step {node.id!r}")

    def choose(self, condition: Ref, then: Callable[[], object], otherwise: Callable[[], object]) -> Ref:
        """Draw both sides of a branch; the run takes one."""
        for _ in self.references_in(condition, "nr.branch was given"):
            pass
        name = self._named("branch")
        sides = [self._side(name, side, draw) for side, draw in ((True, then), (False, otherwise))]
        choice = Choice(id=name, condition=condition, then=sides[0], otherwise=sides[1])
        self.choices[name] = choice
        return Ref(choice, self, label=f"the result of {name!r}")

    def wait(self, wanted: object) -> object:
        """Return the wanted value with every reference in it replaced by what it stands for."""
        if self._guards:
            raise BadPipeline(
                "nr.value inside nr.branch: this side may never be taken", hint="use `if nr.value(condition):` instead"
            )
        if self._wait is None:
            raise BadPipeline("nr.value needs a run: this pipeline is only being drawn", hint="run it: home.run(...)")
        return self._wait(wanted)

    def references_in(self, structure: object, where: str) -> Iterator[Ref]:
        """Yield the references inside lists, tuples and dictionaries; one of another drawing raises `BadPipeline`."""
        if isinstance(structure, Ref):
            if structure.drawing is not self:
                raise BadPipeline(f"{where} a reference of another run", hint="wait for the value there: nr.value(...)")
            yield structure
        elif type(structure) in {list, tuple}:
            for item in cast("list[object]", structure):
                yield from self.references_in(item, where)
        elif type(structure) is dict:
            for item in cast("dict[object, object]", structure).values():
                yield from self.references_in(item, where)

    @contextmanager
    def inside(self, name: str) -> Generator[None]:
        """Draw what follows under a name of its own in the call path."""
        path, self._path = self._path, f"{self._named(name)}/"
        try:
            yield
        finally:
            self._path = path

    def _side(self, name: str, side: bool, draw: Callable[[], object]) -> object:  # noqa: FBT001 - which of two sides
        path, guards = self._path, self._guards
        self._path, self._guards = f"{name}/{'then' if side else 'otherwise'}/", (*guards, (name, side))
        try:
            return self._keep(draw())
        finally:
            self._path, self._guards = path, guards

    def _kept_items(self, items: object) -> object:
        listed = cast("list[object]", items)
        return items if isinstance(items, Ref) else [self._keep(item) for item in listed]

    def _named(self, name: str) -> str:
        whole = self._path + name
        count = self._counts.get(whole, 0) + 1
        self._counts[whole] = count
        return whole if count == 1 else f"{whole}#{count}"


class Pipeline(Generic[Params, Result]):
    """A function that calls steps. A run draws it and executes what it drew; called by itself it is the function."""

    def __init__(self, function: Callable[Params, Result], *, name: str | None = None, cache: Cached = None) -> None:
        refuse_unless_plain(function, "pipeline")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__
        self.cache = cache
        self.what = f"pipeline {self.name!r}"
        self._parameters = Parameters(self.what, function)
        if not self._parameters.are_given_by_name:
            raise BadPipeline(f"{self.what} has parameters without a name", hint="write each parameter out by its name")

    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """Call the function; inside another pipeline, draw it as a part of that one."""
        current = drawing.get()
        if not isinstance(current, Drawing):
            return self.function(*args, **kwargs)
        with current.inside(self.name):
            return self.function(*args, **kwargs)

    def map(self, *_items: object, **_shared: object) -> NoReturn:
        """Say that only steps are mapped."""
        raise BadPipeline(
            f"{self.what} cannot be mapped: a map calls a step for each item",
            hint=f"map a step, or call it for each: [{self.name}(item) for item in nr.value(items)]",
        )

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of the parameters, in order."""
        return self._parameters.names

    @functools.cached_property
    def reference(self) -> str:
        """Return the module and the name by which the pipeline is found in another process."""
        return reference_to(self.function)

    def code(self) -> str:
        """Return the digest of the pipeline's code, its steps' included."""
        return code_digest(self.function)

    def bind(self, params: Mapping[str, object]) -> dict[str, Any]:
        """Return a value for each parameter; raises `BadPipeline` for an unknown or a missing one."""
        return self._parameters.bind_named(params)

    def draw(self, onto: Drawing, arguments: Mapping[str, object]) -> object:
        """Call the function with its calls of steps drawn; return what it returned, references and all."""
        token = drawing.set(onto)
        try:
            returned = self._parameters.call(self.function, arguments)
        finally:
            drawing.reset(token)
        for _ in onto.references_in(returned, f"{self.what} returned"):
            pass
        return returned


@overload
def pipeline(function: Callable[Params, Result], /) -> Pipeline[Params, Result]: ...


@overload
def pipeline(*, cache: bool | str) -> Callable[[Callable[Params, Result]], Pipeline[Params, Result]]: ...


def pipeline(
    function: Callable[..., Any] | None = None, /, *, cache: bool | str | None = None, **unknown: object
) -> Any:
    """Make a function that calls steps a pipeline: `@pipeline`, or `@pipeline(cache=True)`.

    `cache` holds for the steps that say nothing of their own: True, False, or for how long, such as "12h".

    Raises `BadPipeline` for what is not a plain function, and for any other setting.
    """
    if unknown:
        raise BadPipeline(
            f"@pipeline has no setting {next(iter(unknown))!r}",
            hint="it knows cache alone; retries, limits and resources are settings of each @step",
        )
    kept = as_cached(cache)

    def decorate(inner: Callable[..., Any]) -> Pipeline[..., Any]:
        return Pipeline(inner, cache=kept)

    return decorate if function is None else decorate(function)


def value(reference: Value) -> Value:
    """Wait for a step's result and return it; what holds no reference is returned as it is.

    It makes the pipeline a program: what is called afterwards may depend on the value. Such a pipeline is as durable
    as any other, but its graph is known only when it has run.
    """
    current = drawing.get()
    if not isinstance(current, Drawing):
        return reference
    return cast("Value", current.wait(reference))


def branch(condition: object, then: Callable[[], Value], otherwise: Callable[[], Value] | None = None) -> Value | None:
    """Take one of two ways by a condition that is known only when the run gets there, and stay a graph.

    `then` and `otherwise` are functions without arguments that call steps; the result is that of the way taken, None
    without an `otherwise`. Where a condition is a plain value, only the way taken is drawn.
    """
    other = otherwise or _nothing
    for way in (then, other):
        if not callable(way):
            raise BadPipeline(
                "nr.branch takes two functions", hint="wrap each way: nr.branch(c, lambda: f(x), lambda: g(x))"
            )
    current = drawing.get()
    if isinstance(condition, Ref) and isinstance(current, Drawing):
        return cast("Value | None", current.choose(condition, then, cast("Callable[[], object]", other)))
    return then() if bool(cast("Any", condition)) else other()


def _nothing() -> None:
    return None


def _unchanged(structure: object) -> object:
    return structure
