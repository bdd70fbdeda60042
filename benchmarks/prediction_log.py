"""What the prediction log costs: CPU for 10,000 answers and pieces of feedback; budget: 10k events/s under 5% of two cores."""

import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from noria.core.clock import RealClock
from noria.core.ids import TimedIds
from noria.serving import asking, rules
from noria.serving.asking import Asked, Scored
from noria.serving.compacting import Compactor
from noria.serving.log import Log, ends
from noria.serving.model import Endpoint, Feedback

EVENTS, FEATURES = 100_000, 30
ENDPOINT = Endpoint(name="fraud", model="fraud", dataset="payments", secret="secret_1")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def asked():
    row = msgspec.Raw(msgspec.json.encode({f"feature_{number}": number / 7 for number in range(FEATURES)}))
    return [
        Asked(request=f"{number:021d}", key=f"c{number}", row_key=f"c{number}", at=AT, time=AT, row=row)
        for number in range(EVENTS)
    ]


def records(ids, batch):
    scored = Scored(version=3, scores=[0.25] * len(batch), missing=[0] * len(batch), latency_ms=1.23)
    stamps = [rules.stamped(ENDPOINT, ids.new("p")[2:]) for _ in batch]
    return asking.predictions(batch, scored, ids=stamps)


def told(name, count, work):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    share = cpu / count * 10_000 / 2
    print(
        f"  {name:<58} {count / wall:9,.0f}/s  CPU {cpu / count * 1e6:6.1f} us each, {share:6.2%} of two cores at 10k/s"
    )


def main():
    clock = RealClock()
    ids = TimedIds(clock)
    rows = asked()
    made = records(ids, rows)
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder), clock=clock, ids=ids)
        print(f"the log of {EVENTS:,} answers of {FEATURES} features, survives kill -9 when acknowledged")
        for size in (1, 16, 100):
            batches = [made[begin : begin + size] for begin in range(0, EVENTS, size)]
            told(f"written {size} at a time", EVENTS, lambda b=batches: [log.predicted("p", "fraud", x) for x in b])
        singles = [rows[begin : begin + 1] for begin in range(EVENTS)]
        work = lambda: [log.predicted("p", "fraud", records(ids, one)) for one in singles]  # noqa: E731
        told("ids made, recorded and written 1 at a time", EVENTS, work)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.jsonl")) / (4 * EVENTS)
        print(f"  {size:.0f} bytes an answer")
        compacted(clock, ids, made)
        print("feedback, survives loss of power when acknowledged")
        for clients in (1, 16):
            told(f"{clients} at once, one piece each", 2_000, lambda c=clients: feedback(log, c, 2_000))
        log.close()


def compacted(clock, ids, made):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "p" / "fraud"
        log = Log(Path(name), clock=clock, ids=ids)
        for begin in range(0, EVENTS, 100):
            log.predicted("p", "fraud", made[begin : begin + 100])
        log.close()
        compactor = Compactor(log.disk, clock=clock, ids=ids)
        told("compacted to Parquet", EVENTS, lambda: compactor.compact(folder, ends(folder, "predictions")))
        size = sum(path.stat().st_size for path in folder.glob("*.parquet")) / EVENTS
        print(f"  {size:.0f} bytes an answer")


def feedback(log, clients, count):
    def client():
        for _ in range(count // clients):
            log.told("p", "fraud", [Feedback(label=True, at=AT, prediction="fraud.1.2")])

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
