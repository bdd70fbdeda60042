"""The law of kill -9: under load, whatever part dies, nothing that was acknowledged is lost and nothing decided twice."""

import contextlib
import itertools
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest
from running import ROW, Up, noria_init, until

from noria.boot import open_home

PARTS = ("gateway", "worker", "server")


class Load:
    """Clients that predict, tell what turned out to be so, and move the champion; each keeps what was acknowledged."""

    def __init__(self, up, *, clients=3):
        self.up = up
        self.predicted, self.told, self.moved = [], [], []
        self.ending = threading.Event()
        numbers = itertools.count()
        works = [lambda client: self.predict(client, next(numbers))] * clients + [lambda c: self.move(c, next(numbers))]
        self.threads = [threading.Thread(target=self.run, args=(work,)) for work in works]
        for thread in self.threads:
            thread.start()

    def run(self, work):
        with httpx.Client(timeout=20) as client:
            while not self.ending.wait(0.01):
                with contextlib.suppress(httpx.HTTPError):
                    work(client)

    def predict(self, client, number):
        gateway = f"http://127.0.0.1:{self.up.gateway_port}"
        answer = client.post(f"{gateway}/endpoints/machines/predict", json={"row": {"id": f"k{number}", **ROW}})
        if answer.status_code != 200:
            return
        prediction = answer.json()["prediction"]
        self.predicted.append(prediction)
        told = client.post(f"{gateway}/feedback", json={"prediction": prediction, "label": number % 2 == 0})
        if told.status_code == 200:
            self.told.append(prediction)

    def move(self, client, number):
        if self.ending.wait(0.3):
            return
        models = f"http://127.0.0.1:{self.up.port}/api/v1/models/machines"
        champion = client.get(models).json()["champion"]
        asked = {"version": 3 - champion if champion in {1, 2} else 2, "reason": f"move {number}"}
        if client.post(f"{models}/promote", json=asked).status_code == 200:
            self.moved.append(asked["reason"])

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_nothing_acknowledged_is_lost_and_nothing_is_decided_twice(tmp_path, rounds):
    begun = datetime.now(UTC)
    noria_init(tmp_path)
    up = Up(tmp_path)
    try:
        up.ready().answers()
        load = Load(up)
        for _, part in itertools.product(range(rounds), PARTS):
            many = len(load.predicted) + 20
            until(lambda many=many: len(load.predicted) > many, what="predictions")
            up.kill(part)
        many, moves = len(load.predicted) + 20, len(load.moved)
        until(lambda: len(load.predicted) > many and len(load.moved) > moves, what="all goes on")
        load.end()
        assert up.end()[0] == 0
    finally:
        up.close()

    with open_home(tmp_path / ".noria") as home:
        now = home.clock.now() + timedelta(minutes=1)
        found = home.endpoints.outcomes(home.context, "machines", since=begun, until=now, as_of=now)
        answers = found.filter(~found["is_shadow"])
        facts = home.ledger.after(-1, limit=100_000)
        assert home.ledger.audit().holds
    kept = Counter(answers["prediction"])
    labelled = set(answers.drop_nulls("label")["prediction"])
    assert [prediction for prediction in load.predicted if kept[prediction] != 1] == []
    assert set(load.told) <= labelled
    moves = Counter(fact.payload["reason"] for fact in facts if fact.kind.value == "model.promoted")
    assert max(moves.values()) == 1
    assert set(load.moved) <= set(moves)
    steps = Counter((fact.payload["cycle"], fact.kind) for fact in facts if fact.payload.get("cycle"))
    assert max(steps.values()) == 1
    figures = f"{len(load.predicted)} predictions, {len(load.told)} pieces of feedback, {len(load.moved)} moves"
    sys.stdout.write(f"{figures}, {3 * rounds} kills\n")
