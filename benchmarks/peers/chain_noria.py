from timing import FOLDER, N, Timed, tell

import noria as nr


@nr.step
def inc(x):
    return x + 1


@nr.pipeline
def chain(n):
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


if __name__ == "__main__":
    with nr.open(FOLDER) as home, Timed() as timed:
        result = home.run(chain, params={"n": N}).result
    tell(result, timed)
