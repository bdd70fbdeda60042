"""Steps on a Ray cluster: each try is a Ray task, placed by Ray's own scheduling, its values in Ray's object store.

The task is a generator: it yields what the step tells while it runs, then how it ended. Ray retries nothing, for every
try is the engine's to count. What crosses is bytes made by codecs; Ray pickles those, and loads nothing of a user's.
"""

import contextlib
import logging
import threading
from collections.abc import Generator, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import msgspec

from noria.adapters.codecs import standard
from noria.adapters.executors.child import Child
from noria.adapters.executors.packing import Packed
from noria.adapters.executors.ray_objects import INLINE_BYTES, Objects, Sent
from noria.adapters.executors.sending import Said, Sender, Try, received, tell, unsent
from noria.core.clock import Stopwatch
from noria.core.codecs import Encoded
from noria.core.errors import Invalid, NotInstalled, Unavailable
from noria.core.payloads import Payload
from noria.pipelines.model import Needs
from noria.runs import rules
from noria.runs.executors import Call, Offers, Outcome, Problem, closed
from noria.runs.model import Artifact
from noria.runs.values import Value, Values

_LOOKS_EVERY_SECONDS = 2.0
_GRACE_SECONDS = 5.0
"""A step that takes too long ends by its own watch; one that lets nothing else run there is ended from here."""
_A_LITTLE = 0.001
"""How much of a tag's resource a step takes: a node with the tag is wanted, not a share of it."""
_MORE = "start a node that has it, such as `ray start --address=... --resources='{\"fast-disk\": 1}'`"
_NO_TAGS = ("CPU", "GPU", "memory", "object_store_memory", "node:", "accelerator_type:", "bundle_group")


class Ray:
    """Executes tries on the cluster at `address`, or on a Ray that it starts on this machine."""

    name = "ray"

    def __init__(self, values: Values, *, watch: Stopwatch, address: str = "") -> None:
        if address.startswith("ray://"):
            raise Invalid(
                f"{address} is Ray Client, which does not hand on what a step tells while it runs",
                hint='run where a node of the cluster is and say ray_address = "auto", or give its host:6379',
            )
        if find_spec("ray") is None:
            raise NotInstalled("Ray", "ray")
        self._values = values
        self._watch = watch
        self._address = address
        self._sender = Sender(values.codecs)
        self._objects = Objects(values, lambda payload: _ray().put(payload))
        self._running: set[Any] = set()
        self._lock = threading.Lock()
        self._has_started_it = False
        self._is_closed = False
        self._remote: Any = None

    @property
    def offers(self) -> Offers:
        """Return the most that one node of the cluster has, as it is now."""
        nodes = self._nodes()
        most = {kind: max((node.get(kind, 0.0) for node in nodes), default=0.0) for kind in ("CPU", "GPU", "memory")}
        tags = {name for node in nodes for name in node if not name.startswith(_NO_TAGS)}
        return Offers(
            ends_steps=True,
            limits_memory=True,
            cpus=most["CPU"],
            gpus=most["GPU"],
            memory_bytes=most["memory"],
            tags=frozenset(tags),
            more=_MORE,
        )

    def execute(self, call: Call) -> Outcome:
        """Let Ray execute the try wherever it fits, as soon as it does, and follow it to its end."""
        ray, sent = self._connected(), Sent(self._objects)
        try:
            asked = self._sender.packed(call, sent.put)
            bundle = self._objects.bundle(self._sender.code(call.step).bundle)
        except Exception as problem:  # noqa: BLE001 - whatever fetching a user's arguments raises
            return unsent(problem)
        task = self._task(ray).options(name=call.id or call.step.name, **_options(call.step.needs))
        stream = task.remote(msgspec.msgpack.encode(asked), bundle, *sent.references)
        self._running.add(stream)
        try:
            with call.stop.cutting(lambda: ray.cancel(stream, force=True)):
                outcome = self._follow(call, stream)
        except ray.exceptions.RayError as problem:
            outcome = Outcome(problem=_problem(ray, problem))
        except BaseException:
            self._end(stream)
            raise
        finally:
            self._running.discard(stream)
        if outcome.problem is not None and outcome.problem.is_lost:
            self._objects.forget()  # some may have been on the node that was lost
        return outcome

    def close(self) -> None:
        """End what runs, and Ray itself if it was started from here."""
        with self._lock:
            self._is_closed = True
            for stream in tuple(self._running):
                _ray().cancel(stream, force=True)
            if self._has_started_it:
                self._has_started_it = False
                self._objects.forget()
                _ray().shutdown()

    def _task(self, ray: Any) -> Any:  # noqa: ANN401 - Ray has no types here
        """Return what Ray calls; one for all tries, for Ray sends it to the cluster each time that it is made."""
        with self._lock:
            self._remote = self._remote or ray.remote(_perform)
            return self._remote

    def _follow(self, call: Call, stream: Any) -> Outcome:  # noqa: ANN401 - Ray has no types here
        """Hand on what the task yields until it says how it ended, or has to be given up."""
        ray, begun = _ray(), None
        while True:
            if not ray.wait([stream], timeout=_LOOKS_EVERY_SECONDS)[0]:
                problem = self._missing(call.step.needs) if begun is None else self._over(call.step.needs, begun)
                if problem is not None:
                    self._end(stream)
                    return Outcome(problem=problem)
                continue
            kind, value = ray.get(next(stream))
            if kind == "ended":
                outcome = received(value, call.told, self._values.codecs, get=partial(self._kept, stream))
                if value.get("is_over"):
                    self._end(stream)
                return outcome
            if kind == "begun":
                begun = self._watch.wall()
            tell(call.told, (kind, value))

    def _kept(self, stream: Any, packed: Packed) -> Value:  # noqa: ANN401 - see _follow
        """Keep what a try returned, to be committed before the next step starts; that one finds it with Ray still."""
        reference = None if "payload" in packed else next(stream)
        payload = packed["payload"] if reference is None else _ray().get(reference)
        artifact = self._values.put(Encoded(packed["codec"], Payload(payload), packed["digest"]))
        if reference is not None:
            self._objects.remember((artifact.codec, artifact.digest), reference)
        return self._values.stored(artifact)

    def _missing(self, needs: Needs) -> Problem | None:
        """Say that a try which has not begun never will: there is no node, any more, that has all it needs."""
        wanted = _resources(needs)
        if any(all(node.get(kind, 0.0) >= amount for kind, amount in wanted.items()) for node in self._nodes()):
            return None
        spelled = ", ".join(f"{kind} {amount:g}" for kind, amount in wanted.items())
        cause = Unavailable(f"no node of the Ray cluster has {spelled} together", hint=_MORE)
        return Problem(words=f"found no place: {cause.sentence}", cause=cause)

    def _over(self, needs: Needs, begun: float) -> Problem | None:
        """Say that a silent try has taken too long: it lets not even the watch beside it run."""
        limit = needs.timeout_seconds
        if limit is None or self._watch.wall() - begun < limit + _GRACE_SECONDS:
            return None
        cause = TimeoutError(f"it took longer than {limit:g} s and was ended")
        return Problem(words=f"raised {rules.sentence(cause)}", cause=cause)

    @staticmethod
    def _end(stream: Any) -> None:  # noqa: ANN401 - see _follow
        """End a task by force, and wait until its process is gone."""
        ray = _ray()
        with contextlib.suppress(ray.exceptions.RayError, StopIteration):
            ray.cancel(stream, force=True)
            while True:
                ray.get(next(stream))

    def _nodes(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self._connected().nodes() if node["Alive"]]

    def _connected(self) -> Any:  # noqa: ANN401 - see _follow
        """Return Ray, connected; a program that has connected to it already keeps its connection."""
        ray = _ray()
        with self._lock:
            if self._is_closed:
                raise closed()
            if not ray.is_initialized():
                try:
                    ray.init(address=self._address or None, logging_level=logging.WARNING)
                except (ConnectionError, RuntimeError) as problem:
                    raise Unavailable(
                        f"no Ray cluster answers at {self._address!r}: {rules.sentence(problem)}",
                        hint="start one with `ray start --head`, or set ray_address",
                    ) from problem
                self._has_started_it = True
        return ray


def _perform(asked: bytes, bundle: bytes | None, *objects: bytes) -> Generator[Said | bytes]:
    """Execute a try in a process of Ray's; after how it ended come the large values that it returned."""
    codecs, returned = standard(), list[bytes]()

    def get(packed: Packed) -> object:
        payload: bytes = packed["payload"] if "payload" in packed else objects[int(packed["object"])]
        return codecs.decode(packed["codec"], payload)

    def put(value: Encoded | Artifact) -> Packed:
        assert isinstance(value, Encoded)
        packed = {"codec": value.codec, "digest": value.digest}
        if value.payload.size <= INLINE_BYTES:
            return packed | {"payload": bytes(value.payload)}
        returned.append(bytes(value.payload))
        return packed

    child = Child(codecs, get=get, put=put)
    for kind, said in child.perform(msgspec.msgpack.decode(asked, type=Try), lambda: bundle):
        yield kind, said
        if kind == "ended" and said.get("is_over"):
            threading.Event().wait()  # the step still runs here: whoever hears this ends the process
    yield from returned


def _resources(needs: Needs) -> dict[str, float]:
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": float(needs.memory_bytes or 0)}
    return {kind: amount for kind, amount in wanted.items() if amount} | dict.fromkeys(needs.tags, _A_LITTLE)


def _options(needs: Needs) -> dict[str, Any]:
    return {
        "num_cpus": needs.cpus,
        "num_gpus": needs.gpus,
        "memory": needs.memory_bytes,
        "resources": dict.fromkeys(needs.tags, _A_LITTLE),
        "num_returns": "streaming",
        "max_retries": 0,
    }


def _problem(ray: Any, problem: Exception) -> Problem:  # noqa: ANN401 - Ray has no types here
    """Say what it means when Ray itself ends a task."""
    errors = ray.exceptions
    if isinstance(problem, errors.TaskCancelledError):
        raise closed() from problem
    if isinstance(problem, errors.WorkerCrashedError):
        died = RuntimeError("its process died")
        return Problem(words=f"was lost: {died}", cause=died)
    if isinstance(problem, errors.OutOfMemoryError):
        full = MemoryError("Ray ended it, for its node had no memory left")
        return Problem(words=f"raised {rules.sentence(full)}", cause=full)
    if isinstance(problem, errors.RayTaskError):
        refused = Invalid(
            f"its process on the Ray cluster failed: {rules.sentence(problem)}",
            hint="install the same noria, and the packages that the step needs, on every node",
        )
        return Problem(words=f"could not be executed: {refused.sentence}", cause=refused, may_pass=False)
    lost = Unavailable(f"its node of the Ray cluster was lost: {rules.sentence(problem)}", hint="resume the run")
    return Problem(words=f"was lost: {lost.sentence}", cause=lost, is_lost=True)


def _ray() -> Any:  # noqa: ANN401 - see _problem
    return import_module("ray")  # half a second, which opening a home does not pay
