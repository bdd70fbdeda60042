import dask
from timing import N, Timed, tell


def inc(x):
    return x + 1


if __name__ == "__main__":
    dask.config.set(scheduler="threads", num_workers=2)
    step = dask.delayed(inc)
    with Timed() as timed:
        x = 0
        for _ in range(N):
            x = step(x)
        result = x.compute(optimize_graph=False)  # without fusing them, so that each step is really scheduled
    tell(result, timed)
