from dbos import DBOS
from timing import FOLDER, N, Timed, tell

DBOS(
    config={
        "name": "bench",
        "system_database_url": f"sqlite:///{FOLDER}/dbos.sqlite",
        "application_version": "v1",
        "executor_id": "local",
        "log_level": "WARNING",
    }
)


@DBOS.step()
def inc(x):
    return x + 1


@DBOS.workflow()
def chain(n):
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


DBOS.launch()
with Timed() as timed:
    result = chain(N)
tell(result, timed)
DBOS.destroy()
