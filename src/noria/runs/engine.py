"""Executes one run: draws its pipeline, takes each step in turn, and commits each result before the next one starts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from noria.core.errors import BadPipeline, NoriaError, StepFailed
from noria.pipelines.current import drawing as current_drawing
from noria.pipelines.drawing import Drawing, Pipeline
from noria.pipelines.model import Ref
from noria.pipelines.nodes import Choice, Each, Given, Node
from noria.runs import rules
from noria.runs.inprocess import is_for_the_process
from noria.runs.recorder import Recorder, recorder
from noria.runs.steps import Steps, Task
from noria.runs.values import Item, Several, Taking, Value, Values, is_unchanging, of_structure, take


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run's pipeline ended: with what it returned, or with what was raised."""

    made: Value | None = None
    error: str | None = None
    failed_step: str | None = None
    cause: Exception | None = None


class Engine:
    """One run while it is executed, in one thread."""

    def __init__(
        self, pipeline: Pipeline[..., Any], given: Mapping[str, Value], *, values: Values, steps: Steps
    ) -> None:
        self._pipeline = pipeline
        self._given = given
        self._values = values
        self._steps = steps
        self._made: dict[str, Value | Several] = {}
        self._failures: dict[str, StepFailed] = {}
        self._failed_steps: dict[str, str] = {}
        self._sides: dict[str, bool] = {}
        self._broken: BaseException | None = None
        self._drawing = Drawing(self._wait, keep=self._as_it_is)

    def run(self, told: Recorder) -> Ended:
        """Draw and execute; what steps and the pipeline raise ends the run, what the engine itself raises is raised."""
        try:
            made = self._run(told)
        except StepFailed as problem:
            self._raise_if_broken()
            return self._failed(problem)
        except (Exception, SystemExit) as problem:
            self._raise_if_broken()
            if is_for_the_process(problem):
                raise
            return self._raised(problem)
        return Ended(made=made)

    def _run(self, told: Recorder) -> Value:
        arguments: dict[str, object] = {
            name: kept.take() if kept.is_plain else self._drawing.given(name) for name, kept in self._given.items()
        }
        token = recorder.set(told)
        try:
            returned = self._pipeline.draw(self._drawing, arguments)
        finally:
            recorder.reset(token)
        self._raise_if_broken()
        with _Outside():
            for node in self._in_turn():
                if not self._is_settled(node) and self._is_taken(node):
                    self._execute(node)
            return self._ending(returned)

    def _as_it_is(self, structure: object) -> object:
        """Return what a step is called with as a value of its own: the pipeline, and its other steps, may change theirs.

        What cannot be kept is said when the step is to be executed.
        """
        if is_unchanging(structure) or isinstance(structure, Ref):
            return structure
        if _holds_reference(structure):
            return _mapped(structure, self._as_it_is)
        try:
            return self._values.keep(structure)
        except NoriaError as problem:
            if problem.retriable:
                self._broken = problem
                raise
            return _Unkept(problem)

    def _in_turn(self) -> Iterator[Node]:
        """Yield the nodes by their priority, each after what it needs; those of the same one as they were drawn."""
        nodes = self._drawing.nodes
        if not any(node.step.priority for node in nodes):
            yield from nodes
            return
        for node in sorted(nodes, key=lambda node: -node.step.priority):
            if self._is_taken(node):
                self._settle(self._needed_by(node))
            yield node

    def _needed_by(self, node: Node) -> list[Node]:
        return self._unmade([node.each and node.each.items, node.arguments])

    def _ending(self, returned: object) -> Value:
        if isinstance(returned, Ref):
            made = self._value_of(returned)
            if isinstance(made, Value):
                return made
        whole = self._taken(returned)
        try:
            return self._values.keep(whole)
        except NoriaError as problem:
            if problem.retriable:
                raise
            raise BadPipeline(f"what it returned cannot be kept: {problem.sentence}", hint=problem.hint) from problem

    def _failed(self, problem: StepFailed) -> Ended:
        for node, failure in self._failures.items():
            if failure is problem:
                step = self._failed_steps[node]
                return Ended(error=problem.sentence, failed_step=step, cause=cast("Exception", problem.__cause__))
        return self._raised(problem)

    def _raised(self, problem: BaseException) -> Ended:
        """Say what the pipeline's own function raised, and where."""
        line = rules.line_in(self._pipeline.function, problem)
        where = self._pipeline.what if line is None else f"{self._pipeline.what}, line {line}"
        return Ended(error=f"{where}: {rules.sentence(problem)}", cause=rules.as_exception(problem))

    def _wait(self, wanted: object) -> object:
        """Give `nr.value` what it asks for; the pipeline's own thread is drawing meanwhile and goes on after it."""
        self._raise_if_broken()
        with _Outside():
            self._settle(self._unmade(wanted))
            return self._taken(wanted)

    def _settle(self, waiting: list[Node]) -> None:
        """Execute these nodes, and what they need first, however long the chain is."""
        while waiting:
            node = waiting[-1]
            needed = [] if self._is_settled(node) else self._needed_by(node)
            if needed:
                waiting += needed
            else:
                self._execute(waiting.pop())

    def _is_settled(self, node: Node) -> bool:
        return node.id in self._made or node.id in self._failures

    def _unmade(self, structure: object) -> list[Node]:
        """Return the nodes without a value that a structure refers to, or that decide which ones those are."""
        if not isinstance(structure, Ref):
            return [node for item in _items(structure) for node in self._unmade(item)]
        origin = structure.origin
        if isinstance(origin, Choice):
            before = [] if origin.id in self._sides else self._unmade(origin.condition)
            return before or self._unmade(origin.then if self._side(origin) else origin.otherwise)
        return [origin] if isinstance(origin, Node) and not self._is_settled(origin) else []

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _execute(self, node: Node) -> Value | Several:
        """Return a node's value; it is executed unless it is there, was finished before, or stands in the cache."""
        known = self._made.get(node.id)
        if known is not None:
            return known
        if node.id in self._failures:
            raise self._failures[node.id]
        try:
            tasks = self._tasks(node)
        except NoriaError as problem:
            if isinstance(problem, StepFailed) or self._broken is not None:
                raise
            raise self._fail(
                node, f"step {node.id!r} cannot be given its arguments: {problem.sentence}", problem
            ) from problem
        try:
            made = self._take_each(node, node.each, tasks) if node.each else self._take(node, tasks[0])
        except StepFailed:
            raise
        except BaseException as problem:
            self._broken = problem  # a pipeline that catches everything must not go on without its engine
            raise
        self._made[node.id] = made
        return made

    def _take(self, node: Node, task: Task) -> Value:
        made, problem = self._steps.take(task)
        if made is None:
            assert problem is not None
            raise self._fail(node, f"step {node.id!r} {problem.words}", problem.cause) from problem.cause
        return made

    def _take_each(self, node: Node, each: Each, tasks: Sequence[Task]) -> Several:
        taken = self._steps.take_all(tasks, concurrency=each.concurrency)
        for task, (_, problem) in taken[-1:]:
            if problem is not None:
                words = f"step {task.id!r} {problem.words}"
                raise self._fail(node, words, problem.cause, step=task.id) from problem.cause
        return Several([made for _, (made, _) in taken if made is not None])

    def _tasks(self, node: Node) -> list[Task]:
        """Return what a node asks to be done: one task, or one for each item that it goes over."""
        digests = {name: self._digest(argument) for name, argument in node.arguments.items()}
        each = node.each
        if each is None:
            inputs = rules.inputs_digest(digests)
            return [Task(id=node.id, step=node.step, inputs=inputs, arguments=partial(self._arguments, node))]
        return [self._item(node, each, digests, place, item) for place, item in enumerate(self._items(node, each))]

    def _items(self, node: Node, each: Each) -> Sequence[object]:
        """Return the items of a map, each as what is taken by itself; those that another map has made stay where they are."""
        items = self._resolved(each.items) if isinstance(each.items, Ref) else each.items
        made = self._value_of(items) if isinstance(items, Ref) else items
        if isinstance(made, Several):
            return made.values
        found = made.take() if isinstance(made, Value) else made
        if not isinstance(found, list | tuple):
            raise BadPipeline(
                f"{node.step.what} was mapped over a {type(found).__name__}", hint="map goes over a list: return one"
            )
        items = cast("Sequence[object]", found)
        return [self._part(made, place, item) for place, item in enumerate(items)] if isinstance(made, Value) else items

    def _part(self, whole: Value, place: int, item: object) -> object:
        return item if is_unchanging(item) else Item(whole, place, held=item, digest=self._values.digest(item))

    def _item(self, node: Node, each: Each, shared: Mapping[str, str], place: int, item: object) -> Task:
        def arguments(take: Taking = take) -> dict[str, object]:
            return {each.over: self._taken(item, take), **self._arguments(node, take)}

        return Task(
            id=f"{node.id}[{place}]",
            step=node.step,
            inputs=rules.inputs_digest({each.over: self._digest(item), **shared}),
            arguments=arguments,
            goes_on=each.goes_on,
        )

    def _fail(self, node: Node, sentence: str, cause: Exception, *, step: str | None = None) -> StepFailed:
        failure = StepFailed(sentence)
        failure.__cause__ = cause
        self._failures[node.id] = failure
        self._failed_steps[node.id] = step or node.id
        return failure

    def _arguments(self, node: Node, take: Taking = take) -> dict[str, object]:
        return {name: self._taken(argument, take) for name, argument in node.arguments.items()}

    def _is_taken(self, node: Node) -> bool:
        return all(self._side(self._drawing.choices[name]) is side for name, side in node.guards)

    def _side(self, choice: Choice) -> bool:
        if choice.id not in self._sides:
            self._sides[choice.id] = bool(self._taken(choice.condition))
        return self._sides[choice.id]

    def _resolved(self, reference: Ref) -> object:
        """Follow choices until there is a node, a parameter, or a plain value."""
        found: object = reference
        while isinstance(found, Ref) and isinstance(found.origin, Choice):
            found = found.origin.then if self._side(found.origin) else found.origin.otherwise
        return found

    def _value_of(self, reference: Ref) -> Value | Several:
        found = self._resolved(reference)
        if isinstance(found, Value):
            return found
        if not isinstance(found, Ref):
            return self._ending(found)
        origin = found.origin
        return self._given[origin.name] if isinstance(origin, Given) else self._execute(cast("Node", origin))

    def _taken(self, structure: object, take: Taking = take) -> object:
        """Return the structure with every reference replaced by what is taken of its value: one of its own."""
        if isinstance(structure, Ref):
            found = self._resolved(structure)
            return take(self._value_of(found)) if isinstance(found, Ref) else self._taken(found, take)
        if isinstance(structure, Value):
            return take(structure)
        if isinstance(structure, Item):
            return structure.take()
        if isinstance(structure, _Unkept):
            raise structure.problem
        return _mapped(structure, partial(self._taken, take=take))

    def _digest(self, structure: object) -> str:
        if isinstance(structure, Ref):
            found = self._resolved(structure)
            return self._value_of(found).digest if isinstance(found, Ref) else self._digest(found)
        if isinstance(structure, Value | Item):
            return structure.digest
        if isinstance(structure, _Unkept):
            raise structure.problem
        if not _holds_reference(structure):
            return self._values.digest(structure)
        if isinstance(structure, dict):
            pairs = cast("dict[object, object]", structure).items()
            return of_structure([part for key, item in pairs for part in (repr(key), self._digest(item))], "dict")
        items = cast("list[object]", structure)
        return of_structure([self._digest(item) for item in items], type(items).__name__)


@dataclass(frozen=True, slots=True)
class _Unkept:
    """Stands for what a step was called with and cannot be given."""

    problem: NoriaError


class _Outside:
    """While steps run, nothing is drawn: a step that is called inside another one is just its function."""

    def __enter__(self) -> None:
        self._drawing = current_drawing.set(None)

    def __exit__(self, *_problem: object) -> None:
        current_drawing.reset(self._drawing)


def _mapped(structure: object, change: Callable[[object], object]) -> object:
    """Return lists, tuples and dictionaries with their items changed, where a reference is among them."""
    if not _holds_reference(structure):
        return structure
    if isinstance(structure, dict):
        return {key: change(item) for key, item in cast("dict[object, object]", structure).items()}
    changed = [change(item) for item in cast("list[object]", structure)]
    return tuple(changed) if isinstance(structure, tuple) else changed


def _items(structure: object) -> Iterable[object]:
    """Return what a list, a tuple or a dictionary holds; nothing for anything else."""
    if type(structure) is dict:
        return cast("dict[object, object]", structure).values()
    return cast("list[object]", structure) if type(structure) in {list, tuple} else ()


def _holds_reference(structure: object) -> bool:
    return isinstance(structure, Ref) or any(_holds_reference(item) for item in _items(structure))
