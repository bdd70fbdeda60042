"""Ray on this machine. Nothing is durable."""

import ray
import work
from contest import HOME, N, Timed, contend, tell

ray.init(
    num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=str(HOME / "r"), log_to_driver=False
)


@ray.remote
def inc(x):
    return x + 1


@ray.remote
def total(*values):
    return sum(values)


def chain():
    with Timed() as timed:
        x = 0
        for _ in range(N):
            x = inc.remote(x)
        result = ray.get(x)
    tell(result, timed)


def fan():
    with Timed() as timed:
        result = ray.get(total.remote(*[inc.remote(x) for x in range(N)]))
    tell(result, timed)


def real():
    load, split, train, evaluate = map(ray.remote, (work.load, work.split, work.train, work.evaluate))
    with Timed() as timed:
        parts = {name: split.remote(load.remote(name)) for name in work.SETS}
        begun = [evaluate.remote(train.remote(parts[name], kind), parts[name]) for name, kind in work.pairs()]
        result = work.best(ray.get(begun))
    tell(result, timed)


contend(chain=chain, fan=fan, real=real)
