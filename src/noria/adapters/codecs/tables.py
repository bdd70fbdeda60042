"""Tables, batches and arrays of PyArrow as Arrow IPC, with their schemas as they are."""

from typing import Any

from noria.adapters.codecs import arrow
from noria.adapters.codecs.framing import framed, header_of, split
from noria.core import digests
from noria.core.errors import Invalid
from noria.core.payloads import Payload

_KINDS = ("Table", "RecordBatch", "ChunkedArray", "Array")


class Tables:
    """PyArrow's tables, batches of records, chunked arrays and arrays."""

    name = "pyarrow"

    def carries(self, kind: type[Any]) -> bool:
        """Say whether it is a type of these; PyArrow is not loaded to find out."""
        return _kind_of(kind) is not None

    def accepts(self, value: object) -> bool:
        """Say whether it is one of these."""
        return self.carries(type(value))

    def encode(self, value: object) -> Payload:
        """Return what it is, and an Arrow IPC file. Raises `Invalid` for a type that the file does not say."""
        pa, kind = arrow.pyarrow(), _kind_of(type(value))
        whole = _table(value)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, whole.schema) as file:
            file.write(whole)
        content = Payload(memoryview(sink.getvalue()))
        back = pa.ipc.open_file(pa.py_buffer(content.view())).schema
        if not back.equals(whole.schema, check_metadata=True):
            lost = next((a for a, b in zip(whole.schema, back, strict=True) if not a.equals(b)), "its metadata")
            raise Invalid(
                f"this {kind} of PyArrow cannot be kept: Arrow's files do not say {lost}",
                hint="cast it to another type",
            )
        return framed({"kind": kind, "size": content.size}, [content])

    def decode(self, payload: Payload) -> object:
        """Read it."""
        pa = arrow.pyarrow()
        header, rest = split(payload, "table of PyArrow")
        file = pa.ipc.open_file(pa.py_buffer(rest.part(0, header["size"]).view()))
        match header["kind"]:
            case "Table":
                return file.read_all()
            case "ChunkedArray":
                return file.read_all().column(0)
            case "RecordBatch":
                return file.get_batch(0)
            case _:
                return file.get_batch(0).column(0)

    def digest(self, value: object, payload: Payload) -> str:
        """Return the digest of schema and values; how they are chunked does not matter."""
        pa = arrow.pyarrow()
        whole = _table(value)
        table = whole if isinstance(whole, pa.Table) else pa.Table.from_batches([whole])
        kind = header_of(payload, "table of PyArrow")[0]["kind"]
        return digests.of_parts([kind.encode(), table.schema.serialize(), arrow.table_digest(table).encode()])


def _kind_of(kind: type[Any]) -> str | None:
    names = [base.__name__ for base in kind.__mro__ if base.__module__.partition(".")[0] == "pyarrow"]
    return next((name for name in names if name in _KINDS), None)


def _table(value: Any) -> Any:  # noqa: ANN401 - PyArrow has no types
    """Return the table or the batch that a value is, or is the only column of."""
    pa = arrow.pyarrow()
    if isinstance(value, pa.Array):
        return pa.RecordBatch.from_arrays([value], [""])
    return pa.table([value], [""]) if isinstance(value, pa.ChunkedArray) else value
