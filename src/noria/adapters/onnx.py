"""Models of scikit-learn as ONNX: converted by skl2onnx, run by onnxruntime in one thread."""

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from noria.core.errors import BadData, Invalid, ModelFailed, NotInstalled
from noria.registry.model import Model
from noria.serving.running import Row, Scores

if TYPE_CHECKING:
    from types import ModuleType

_INPUT = "X"
_CONVERTING = threading.Lock()


def convert(model: Model, columns: Sequence[str]) -> bytes:
    """Return the estimator as ONNX that reads a float32 matrix of shape (rows, columns).

    Raises:
        Invalid: skl2onnx has no converter for it.
        NotInstalled: the extra is missing.

    """
    skl2onnx, kinds = _converter()
    options: Any = {"zipmap": False} if hasattr(model.estimator, "predict_proba") else None
    read = [(_INPUT, kinds.FloatTensorType([None, len(columns)]))]
    try:
        with _CONVERTING, _plain_attributes():
            made = skl2onnx.to_onnx(model.estimator, initial_types=read, options=options)
    except Exception as problem:
        first = str(problem).strip().splitlines() or [""]
        raise Invalid(f"a {type(model.estimator).__name__} has no ONNX: {first[0][:200]}") from problem
    _route_gaps(made, model.estimator)
    return made.SerializeToString()


class OnnxScorer:
    """A version as an onnxruntime session; one row takes some microseconds, so it is scored where it is asked."""

    def __init__(self, payload: bytes, columns: Sequence[str], version: str) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._columns = tuple(columns)
        self._version = version
        try:
            self._session = runtime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
        except Exception as problem:
            raise Invalid(f"the ONNX of {version} cannot be loaded: {problem}") from problem
        self._output = [self._session.get_outputs()[-1].name]

    trouble: str | None = None
    """It runs in this process: while that answers, it does."""
    deaths = 0

    def submit(self, rows: Sequence[Row]) -> "Future[Scores]":
        """Score the rows at once."""
        answer: Future[Scores] = Future()
        try:
            answer.set_result(self._score(rows))
        except BadData as problem:
            answer.set_exception(problem)
        except Exception as problem:  # noqa: BLE001 - the runtime raises kinds of its own
            answer.set_exception(ModelFailed(self._version, str(problem)))
        return answer

    def close(self) -> None:
        """Nothing is held that memory does not give back."""

    def _score(self, rows: Sequence[Row]) -> Scores:
        names = self._columns
        with np.errstate(over="ignore"):
            table = np.array([list(map(row.get, names)) for row in rows], dtype=np.float32)
        if np.isinf(table).any():
            raise _too_large(table, rows, names)
        found = cast("np.ndarray", self._session.run(self._output, {_INPUT: table})[0])
        if found.ndim == 2 and found.shape[1] > 2:  # noqa: PLR2004 - rows by two classes
            raise Invalid(f"it gives {found.shape[1]} classes, not two")
        scores: list[float] = found[:, -1].tolist() if found.ndim == 2 else found.tolist()  # noqa: PLR2004 - see above
        return [score if abs(score) < float("inf") else None for score in scores]


def _too_large(table: "np.ndarray", rows: Sequence[Row], names: Sequence[str]) -> BadData:
    """Say which value is finite and too large for 32 bits, so that the model would read another one."""
    place, column = (int(found) for found in np.argwhere(np.isinf(table))[0])
    name = names[column]
    return BadData(
        f"column {name!r} of row {place} holds {rows[place].get(name)!r}, which 32 bits cannot hold",
        hint="send numbers up to 3e38, or null for a missing value",
    )


def _route_gaps(made: Any, estimator: Any) -> None:  # noqa: ANN401 - a graph of onnx; any estimator
    """Send missing values down the branches that scikit-learn's own trees have learned; skl2onnx leaves that out.

    What cannot be mapped node by node is left as it is: golden rows tell whether it is right.
    """
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    parts = np.ravel(np.asarray(getattr(final, "estimators_", [final]), dtype=object)).tolist()
    trees = [part.tree_.__getstate__()["nodes"] for part in parts if hasattr(part, "tree_")]
    ensembles = [node for node in made.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(ensembles) != 1 or not trees or "missing_go_to_left" not in (trees[0].dtype.names or ()):
        return
    told = {attribute.name: attribute for attribute in ensembles[0].attribute}
    places = list(zip(told["nodes_treeids"].ints, told["nodes_nodeids"].ints, strict=True))
    if places != [(tree, node) for tree, nodes in enumerate(trees) for node in range(len(nodes))]:
        return
    is_leaf = [mode == b"LEAF" for mode in told["nodes_modes"].strings]
    goes_left = np.concatenate([nodes["missing_go_to_left"] for nodes in trees])
    flags = [int(left and not leaf) for left, leaf in zip(goes_left.tolist(), is_leaf, strict=True)]
    told["nodes_missing_value_tracks_true"].ints[:] = flags


@contextmanager
def _plain_attributes() -> Generator[None]:
    """Let skl2onnx write the node attributes of gradient boosting, which scikit-learn keeps as NumPy numbers.

    onnx refuses bool and uint32 where it wants a whole number; skl2onnx 1.20 does not convert them.
    """
    from skl2onnx.common import _container as container  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs] - see _converter

    place = cast("Any", container)
    make_node = place.make_node

    def make(kind: str, inputs: Any, outputs: Any, **attributes: Any) -> Any:  # noqa: ANN401 - onnx's own signature
        plain = {name: _plain(value) for name, value in attributes.items()}
        return make_node(kind, inputs, outputs, **plain)

    place.make_node = make
    try:
        yield
    finally:
        place.make_node = make_node


def _plain(value: Any) -> Any:  # noqa: ANN401 - any attribute of a node
    if not isinstance(value, list | tuple) or not value:
        return cast("Any", value)
    items = cast("Sequence[Any]", value)
    if not isinstance(items[0], bool | int | float | np.generic):
        return items
    is_real = np.asarray(items[:1]).dtype.kind == "f"
    return [float(item) if is_real else int(item) for item in items]


def _converter() -> "tuple[ModuleType, Any]":
    try:
        import skl2onnx  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs] - an optional extra, slow to load, that ships no stubs
        from skl2onnx.common import data_types  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs] - see above
    except ModuleNotFoundError as problem:
        raise NotInstalled("the ONNX converter (skl2onnx)", "onnx") from problem
    return skl2onnx, data_types


def _runtime() -> Any:  # noqa: ANN401 - an optional extra
    try:
        import onnxruntime  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs] - an optional extra
    except ModuleNotFoundError as problem:
        raise NotInstalled("onnxruntime", "onnx") from problem
    return onnxruntime
