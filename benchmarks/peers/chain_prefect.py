from prefect import flow, task
from timing import N, Timed, tell


@task
def inc(x):
    return x + 1


@flow
def chain(n):
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


with Timed() as timed:
    result = chain(N)
tell(result, timed)
