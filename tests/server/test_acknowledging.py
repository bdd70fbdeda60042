"""Laws of what an answer promises: predictions are written before it, feedback is synced before it."""

import asyncio
from pathlib import Path

import httpx
import pytest
from serving_home import route

from noria.core.clock import MachineStopwatch
from noria.server.gateway.app import Gateway
from noria.server.gateway.table import Table
from noria.serving.disk import MachineDisk
from noria.serving.log import Log, ends


class ToldDisk(MachineDisk):
    """A disk that tells what it did, and refuses what it is told to."""

    def __init__(self, said):
        self.said, self.refuses = said, None

    def write(self, file, payload):
        self._do("write")
        super().write(file, payload)

    def sync(self, file):
        self._do("sync")
        super().sync(file)

    def _do(self, what):
        if what == self.refuses:
            self.said.append(f"{what} refused")
            raise OSError(5, "Input/output error")
        self.said.append(what)


class Wire:
    """A gateway whose disk and answers are told of in one order."""

    def __init__(self, home):
        self.said = []
        self.disk = ToldDisk(self.said)
        self.log = home.log = Log(Path(home.settings.home) / "told", clock=home.clock, ids=home.ids, disk=self.disk)
        self.table = Table(home, stopwatch=MachineStopwatch())
        self.app = Gateway(home, self.table, stopwatch=MachineStopwatch())
        self.table.look()

    async def __call__(self, scope, receive, send):
        async def told(message):
            if message["type"] == "http.response.start":
                self.said.append(message["status"])
            await send(message)

        await self.app(scope, receive, told)

    def post(self, path, body):
        async def work():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self), base_url="http://gateway") as client:
                return await client.post(path, json=body)

        self.said.clear()
        return asyncio.run(work())


@pytest.fixture
def wire(home):
    route(home, (1, 1.0))
    made = Wire(home)
    yield made
    made.table.close()


FEEDBACK = {"endpoint": "clicks", "key": "c1", "label": True}


def test_feedback_is_written_then_synced_then_acknowledged(wire):
    answer = wire.post("/feedback", FEEDBACK)

    assert answer.json() == {"accepted": 1}
    assert wire.said == ["write", "sync", 200]


@pytest.mark.parametrize("refuses", ["write", "sync"])
def test_feedback_that_the_disk_refuses_is_not_acknowledged_and_the_gateway_goes_on(wire, refuses):
    wire.post("/feedback", FEEDBACK)
    wire.disk.refuses = refuses
    refused = wire.post("/feedback", FEEDBACK)
    said = list(wire.said)
    wire.disk.refuses = None
    again = wire.post("/feedback", FEEDBACK)

    assert (refused.status_code, refused.json()["code"]) == (507, "not-stored")
    assert "Input/output error" in refused.json()["detail"]
    assert "accepted" not in refused.json()
    assert said.index(f"{refuses} refused") < said.index(507)
    assert (again.status_code, wire.said) == (200, ["write", "sync", 200])


def test_a_prediction_is_written_before_it_is_answered_and_pays_for_no_sync(wire):
    answer = wire.post("/endpoints/clicks/predict", {"row": {"id": "c1", "x": 1.0, "y": 1.0}})

    assert answer.status_code == 200
    assert wire.said == ["write", 200]
    assert len(ends(wire.log.folder_of("default", "clicks"), "predictions")) == 1
