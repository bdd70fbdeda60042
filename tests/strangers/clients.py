"""Clients as they are: they spell what they mean in many ways, and some send what nobody can mean."""

import json
import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worlds import World

FAIR = ("exact", "floats", "no_nulls", "extra")
ODD = (
    "text_for_number", "huge_int", "overflow", "true_for_number", "number_for_text", "naive_time", "nul_key",
    "fraction", "nested", "not_json", "no_time",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """The body of a request, and how it was spelled; `row` is what its JSON says, None for what is no JSON."""

    spelling: str
    body: bytes
    row: dict[str, Any] | None

    @property
    def is_fair(self) -> bool:
        return self.spelling in FAIR


def spelled(world: World, row: dict[str, Any], *, chance: random.Random) -> Request:
    """Return a row as some client sends it."""
    spelling = chance.choice(FAIR if chance.random() < 0.7 else ODD)
    plain = {name: _plain(value) for name, value in row.items() if not name.startswith("\0")}
    numbers = [c.name for c in world.inputs if c.is_number and c.kind != "flag"]
    texts = [c.name for c in world.inputs if not c.is_number]
    number = chance.choice(numbers) if numbers else None
    text = chance.choice(texts) if texts else None
    body = _body(_changed(world, plain, spelling, number=number, text=text))
    if spelling == "overflow" and number is not None:
        body = body.replace(b'"<overflow>"', b"1e400")
    if spelling == "not_json":
        body = body[:-2]
    return Request(spelling=spelling, body=body, row=_said(body))


def _changed(
    world: World, row: dict[str, Any], spelling: str, *, number: str | None, text: str | None
) -> dict[str, Any]:
    """Return a row with what is odd about it."""
    wrong: dict[str, Any] = {"text_for_number": "abc", "huge_int": 2**64 + 1, "overflow": "<overflow>"}
    wrong |= {"true_for_number": True, "fraction": 17.5, "nested": {"a": [1]}}
    if spelling in wrong and number is not None:
        return row | {number: wrong[spelling]}
    if spelling == "floats":
        whole = {n: v for n, v in row.items() if type(v) is int and n != world.key and abs(v) < 2**53}
        return row | {name: float(value) for name, value in whole.items()}
    if spelling in ("no_nulls", "no_time"):
        left_out = world.time if spelling == "no_time" else None
        return {name: value for name, value in row.items() if value is not None and name != left_out}
    naive = datetime.fromisoformat(row[world.time]).replace(tzinfo=None).isoformat()
    more = {"extra": {"nobody knows": 1}, "naive_time": {world.time: naive}, "nul_key": {world.key: "a\0b"}}
    more |= {"number_for_text": {} if text is None else {text: 5}}
    return row | more.get(spelling, {})


def _body(row: dict[str, Any]) -> bytes:
    return json.dumps({"row": row}).encode()


def _said(body: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(body)["row"]
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
